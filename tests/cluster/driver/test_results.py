from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from sparkdl.cluster.driver.results import (
    ResultFile,
    ResultFolder,
    local_folder,
    read_by_tasks,
    read_here,
    remove_local,
)

DATA = bytes(range(256)) * 40


def test_a_folder_of_this_host_is_made_by_the_rank_and_for_this_user_only() -> None:
    folder = local_folder()
    assert not Path(folder.url).exists()
    file = folder.write(DATA)
    assert Path(folder.url).stat().st_mode & 0o777 == 0o700
    assert file.bytes == len(DATA)
    assert read_here(file) == DATA
    remove_local(folder)
    assert not Path(folder.url).exists()
    remove_local(folder)


def test_options_are_never_shown() -> None:
    assert "secret" not in repr(ResultFolder("s3://bucket/x", {"key": "secret"}))


def test_a_second_try_puts_its_result_in_the_place_of_the_first(tmp_path: Path) -> None:
    folder = ResultFolder(str(tmp_path / "result"))
    folder.write(b"first")
    assert read_here(folder.write(DATA)) == DATA
    assert len(list((tmp_path / "result").iterdir())) == 1


def test_tasks_read_a_file_in_parts(spark: SparkSession, tmp_path: Path) -> None:
    file = ResultFolder(f"local://{tmp_path}/result", {"auto_mkdir": True}).write(DATA)
    assert read_by_tasks(spark, file, {}, 4_000) == DATA
    with pytest.raises(Exception, match="ends 1 bytes early"):
        read_by_tasks(spark, ResultFile(file.url, file.bytes + 1), {}, 1 << 20)
