from __future__ import annotations

import queue
import time
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from sparkdl.cluster.driver.barrier_job import BarrierJob
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.spool.ingest import Ingest
from sparkdl.spark.facts import SessionFacts

PLANNING = 4.0


@pytest.fixture
def rows_planned_slowly(spark: SparkSession, tmp_path: Path) -> DataFrame:
    """Rows for which Spark asks a source that takes seconds to say what there is."""
    begun, seconds = str(tmp_path / "planning"), PLANNING

    class Reader(DataSourceReader):
        def partitions(self):  # type: ignore[no-untyped-def]
            import pathlib
            import time

            pathlib.Path(begun).touch()
            time.sleep(seconds)
            return [InputPartition(0)]

        def read(self, partition):  # type: ignore[no-untyped-def]
            yield (0,)

    class Source(DataSource):
        @classmethod
        def name(cls) -> str:
            return "sparkdl_slow"

        def schema(self) -> str:
            return "id long"

        def reader(self, schema):  # type: ignore[no-untyped-def]
            return Reader()

    spark.dataSource.register(Source)
    return spark.read.format("sparkdl_slow").load()


def test_a_job_that_spark_still_plans_is_cancelled_when_it_starts(
    spark: SparkSession, rows_planned_slowly: DataFrame, tmp_path: Path
) -> None:
    job = Ranks(1, backend="local").job("time:sleep", {})
    ingest = Ingest(rows_planned_slowly, ("id",), "no:such", {})
    running = BarrierJob(spark, SessionFacts.read(spark), job, queue.Queue(), ingest=ingest)
    deadline = time.monotonic() + 60
    while not (tmp_path / "planning").exists():
        assert time.monotonic() < deadline
        assert not running.over, running.result()
        time.sleep(0.05)
    began = time.monotonic()
    running.cancel()
    assert running.over
    assert time.monotonic() - began < 25
    with pytest.raises(Exception, match=r"cancelled|CANCEL"):
        running.result()
