"""Rows that several fits share: written once, and gone or given back after the last of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl.data import clear_cache
from sparkdl.data.write import schema_of
from sparkdl.fitting.shared_dataset import RowsWanted, SharedRows
from sparkdl.spark.facts import SessionFacts


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.range(20, numPartitions=2).select(F.col("id").cast("double").alias("x"), F.col("id").alias("y"))


def wanted(frame: DataFrame, **settings: Any) -> RowsWanted:
    return RowsWanted(schema_of(frame.schema, inputs=[("x", ("x",))], labels=["y"], weight=None), **settings)


def test_rows_are_written_once_and_removed_after_the_last_fit(
    frame: DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sparkdl.fitting")
    shared = SharedRows(frame, [wanted(frame)] * 3, SessionFacts.read(frame.sparkSession))
    folders: set[str] = set()

    def fit() -> None:
        with shared.use(wanted(frame)) as rows:
            folders.add(rows.train.url)
            assert rows.train.rows == 20

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder,) = folders
    assert Path(folder).exists()
    fit()
    assert folders == {folder}
    assert caplog.messages == ["the rows of this fit come by feed='parquet'"]
    assert not Path(folder).exists()


def test_a_fit_that_fails_removes_them_and_the_next_writes_them_again(frame: DataFrame) -> None:
    shared = SharedRows(frame, [wanted(frame)] * 2, SessionFacts.read(frame.sparkSession))
    folders = []

    def fail() -> None:
        with shared.use(wanted(frame)) as rows:
            folders.append(Path(rows.train.url))
            assert folders[0].exists()
            raise RuntimeError("no rank wanted them")

    with pytest.raises(RuntimeError, match="no rank wanted them"):
        fail()
    assert not folders[0].exists()
    with shared.use(wanted(frame)) as rows:
        assert Path(rows.train.url).exists()
        assert rows.train.lease == ""
    assert not Path(rows.train.url).exists()


def test_rows_of_a_direct_feed_are_shared_and_dropped_after_the_last_fit(spark: SparkSession, frame: DataFrame) -> None:
    def kept() -> int:
        return int(spark.sparkContext._jsc.getPersistentRDDs().size())

    before = kept()
    shared = SharedRows(frame, [wanted(frame, feed="direct")] * 3, SessionFacts.read(frame.sparkSession))
    rows = []
    for _ in range(2):
        with shared.use(wanted(frame, feed="direct")) as dataset:
            rows.append(dataset.blocks)
    assert kept() == before + 1

    def fail() -> None:
        with shared.use(wanted(frame, feed="direct")) as dataset:
            rows.append(dataset.blocks)
            raise RuntimeError("no rank wanted them")

    with pytest.raises(RuntimeError, match="no rank wanted them"):
        fail()
    assert rows[0] is rows[1] is rows[2] is not None
    assert kept() == before


def test_rows_below_a_cache_url_are_kept_for_other_sessions(frame: DataFrame, tmp_path: Path) -> None:
    settings = {"cache_url": tmp_path.as_uri(), "validation_fraction": 0.3, "seed": 3}
    hashes = []
    for _ in range(2):
        with SharedRows(frame, [], SessionFacts.read(frame.sparkSession)).use(wanted(frame, **settings)) as rows:
            assert rows.validation is not None
            hashes.append((rows.train.hash, rows.validation.hash))
            assert clear_cache(str(tmp_path)) == []
    assert hashes[0] == hashes[1]
    (kept,) = tmp_path.iterdir()
    assert clear_cache(str(tmp_path)) == [kept.name]
