"""Files behind URLs: local paths and fsspec's memory file system behave alike."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkdl.errors import ClusterError
from sparkdl.storage import urls


@pytest.fixture(params=["path", "file", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        url = f"memory://{uuid.uuid4().hex}"
        urls.make_folder(url)
        yield url
        urls.remove(url)
    else:
        yield str(tmp_path) if request.param == "path" else tmp_path.as_uri()


def test_a_file_is_written_read_renamed_and_removed(base: str) -> None:
    url = urls.join(base, "folder", "file one")
    urls.make_folder(urls.join(base, "folder"))
    with urls.write_atomic(url) as stream:
        stream.write(b"hello")
        assert not urls.exists(url)
    assert urls.size(url) == 5
    with urls.open_read(url) as stream:
        assert stream.read() == b"hello"
    urls.rename(url, urls.join(base, "folder", "two"))
    assert not urls.exists(url)
    urls.remove(urls.join(base, "folder"))
    assert not urls.exists(urls.join(base, "folder", "two"))
    urls.remove(urls.join(base, "folder"))


def test_a_writer_that_fails_leaves_nothing(base: str) -> None:
    folder = urls.join(base, "folder")
    urls.make_folder(folder)

    def fail() -> None:
        with urls.write_atomic(urls.join(folder, "file")) as stream:
            stream.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    fs, path = urls.file_system(folder)
    assert fs.ls(path) == []


def test_writing_again_replaces(base: str) -> None:
    url = urls.join(base, "file")
    for text in (b"one", b"two!"):
        with urls.write_atomic(url) as stream:
            stream.write(text)
    assert urls.size(url) == 4
    with pytest.raises(FileNotFoundError):
        urls.size(urls.join(base, "other"))


def test_a_private_folder_is_for_its_user(tmp_path: Path) -> None:
    urls.make_folder(str(tmp_path / "a" / "b"), private=True)
    urls.make_folder(str(tmp_path / "a" / "b"), private=True)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("/a/b", "file"),
        ("name:b", "file"),
        ("file:/a", "file"),
        ("FILE:///a", "file"),
        ("hdfs://h:1/a", "hdfs"),
        ("hdfs:/a", "hdfs"),
        ("dbfs:/a", "file"),
        ("dbfs:///a", "file"),
        ("dbfs://host/a", "dbfs"),
        ("s3a://b/k", "s3a"),
        ("/odd/name:with/colon", "file"),
    ],
)
def test_the_scheme_of_a_url(url: str, scheme: str) -> None:
    assert urls.scheme(url) == scheme
    assert urls.is_local(url) == (scheme == "file")


def test_local_paths_of_urls() -> None:
    assert urls.local_path("file:///tmp/two%20words") == "/tmp/two words"
    assert urls.local_path("file:/tmp/a") == "/tmp/a"
    assert urls.local_path("dbfs:/a b/c") == urls.local_path("dbfs:///a b/c") == "/dbfs/a b/c"
    assert urls.local_path("dbfs:/Volumes/main/a") == "/Volumes/main/a"
    assert urls.local_path("dbfs:/Volumes2/a") == "/dbfs/Volumes2/a"
    assert urls.join("/", "a") == "/a"
    assert urls.join("s3://b/", "a", "c") == "s3://b/a/c"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("hdfs:/a//b", "hdfs:///a//b"),
        ("HDFS:/a", "hdfs:///a"),
        ("hdfs:///a", "hdfs:///a"),
        ("hdfs://host/a:/b", "hdfs://host/a:/b"),
        ("s3:/a", "s3:/a"),
        ("file:/a", "file:/a"),
        ("file:///a", "file:///a"),
        ("/a:/b", "/a:/b"),
        ("/dbfs/a", "/dbfs/a"),
    ],
)
def test_one_slash_is_what_hadoop_takes_it_for(url: str, wanted: str) -> None:
    assert urls.plain(url) == wanted


def test_a_scheme_that_nobody_knows_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ClusterError, match=r"nosuch://.*install the fsspec package"):
        urls.exists("nosuch://a/b")
