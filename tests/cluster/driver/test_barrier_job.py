from __future__ import annotations

import queue
import time
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from sparkdl.cluster.driver.barrier_job import BarrierJob
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.spool.ingest import Ingest
from sparkdl.spark.facts import SessionFacts


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
