"""Folders on Spark's file systems."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from sparkdl.errors import PersistenceError
from sparkdl.spark import files


def make(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b c.bin").write_bytes(b"\0\1")
    (folder / "a#%20.txt").write_text("text")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".crc"
    }


@pytest.mark.parametrize("scheme", ["", "file:", "file://"])
def test_up_and_down(spark: SparkSession, tmp_path: Path, scheme: str) -> None:
    source = make(tmp_path / "source")
    url = f"{scheme}{tmp_path}/tar get"
    assert not files.exists(spark, url)
    files.upload(spark, source, url)
    (tmp_path / "tar get" / "old").touch()
    files.upload(spark, source, url)
    assert files.exists(spark, url)
    with files.downloaded(spark, url) as folder:
        assert content(folder) == content(source)
        assert folder == tmp_path / "tar get"
    assert stat.S_IMODE((tmp_path / "tar get" / "deep" / "b c.bin").stat().st_mode) & 0o444 == 0o444


def test_file_system_that_the_driver_cannot_see_is_copied(spark: SparkSession, tmp_path: Path) -> None:
    # Hadoop's own file system of views shows a local folder under another scheme, as a remote one would be.
    source = make(tmp_path / "source")
    conf = {"fs.viewfs.mounttable.test.link./models": f"file://{tmp_path}/mounted"}
    (tmp_path / "mounted").mkdir()
    for key, value in conf.items():
        spark.conf.set(key, value)
    try:
        url = "viewfs://test/models/m"
        files.upload(spark, source, url)
        with files.downloaded(spark, url) as folder:
            assert content(folder) == content(source)
            assert not folder.is_relative_to(tmp_path / "mounted")
            copy = folder
        assert not copy.exists()
    finally:
        for key in conf:
            spark.conf.unset(key)


def test_what_cannot_be_read(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(
        PersistenceError, match="nosuch://place/x cannot be read or written: .*No FileSystem for scheme"
    ):
        files.exists(spark, "nosuch://place/x")
    with pytest.raises(PersistenceError, match="there is nothing to load"), files.downloaded(spark, f"{tmp_path}/none"):
        pass


def test_file_reaches_the_executors_and_is_sent_once(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "sparkdl-test-file.txt"
    path.write_text("sent")
    assert not files.was_sent(spark, path.name)
    files.send_file(spark, path)
    assert files.was_sent(spark, path.name)
    assert not path.exists()
    name = path.name

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"text": [files.received_file(name).read_text()] * batch.num_rows})

    assert [row.text for row in spark.range(2).mapInArrow(read, "text string").collect()] == ["sent"] * 2
