"""Paths as a Spark Connect client sees them; tests/integration/test_connect.py uses a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparkdl.errors import PersistenceError
from sparkdl.spark.connect_files import _below, _literal, check_space, upload


@pytest.mark.parametrize(
    ("path", "url", "expected"),
    [
        ("file:/a/b c/m/metadata/part-0", "/a/b c/m", "metadata/part-0"),
        ("file:/a/m/weights.safetensors", "file:///a//m/", "weights.safetensors"),
        ("hdfs://name:8020/a/m/params/x-0/w", "hdfs://name:8020/a/m", "params/x-0/w"),
        ("hdfs://name:8020/user/me/m/w", "m", "w"),
        ("s3a://bucket/m/m/w", "s3a://bucket/m", "m/w"),
    ],
)
def test_a_files_place_below_a_folder(path: str, url: str, expected: str) -> None:
    assert _below(path, url) == Path(expected)


@pytest.mark.parametrize("path", ["file:/other/w", "file:/a/m/../../etc/w", "file:/a/mm/w"])
def test_nothing_lies_outside_of_its_folder(path: str) -> None:
    with pytest.raises(PersistenceError, match="does not lie below /a/m"):
        _below(path, "/a/m")


def test_no_character_of_a_path_is_a_pattern() -> None:
    assert _literal("/a [1]/{x}*?\\.bin") == "/a \\[1\\]/\\{x\\}\\*\\?\\\\.bin"


@pytest.mark.parametrize("url", ["hdfs://name/m", "file:/m", "models/m"])
def test_only_the_servers_default_file_system_can_be_written(url: str) -> None:
    with pytest.raises(PersistenceError, match="an absolute path without a scheme"):
        upload(None, [], url)


def test_nothing_is_copied_that_the_disk_has_no_room_for(tmp_path: Path) -> None:
    check_space(1, tmp_path, "hdfs:/models/m")
    with pytest.raises(PersistenceError, match=r"hdfs:/models/m has 1,000,000,000,000,000,000 bytes, and .* left"):
        check_space(10**18, tmp_path, "hdfs:/models/m")
