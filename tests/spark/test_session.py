from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from sparkdl.errors import ClusterError, DataError
from sparkdl.spark.session import ends_with_interrupt, in_this_session, names_stop


def test_a_stopped_application_is_one_sentence_whatever_spark_says() -> None:
    # What a session has after `stop`: every call of Spark's meets None.
    stopped: Any = SimpleNamespace(sparkContext=SimpleNamespace(_jsc=None))
    for error in (AttributeError("'NoneType' object has no attribute 'setCallSite'"), DataError("no rows")):
        with pytest.raises(ClusterError) as raised, names_stop(stopped, "the fit"):
            raise error
        assert str(raised.value) == "the fit was cancelled: the Spark application was stopped while it ran"
        assert raised.value.__suppress_context__
    with pytest.raises(ClusterError, match="^the barrier job"), names_stop(stopped, "the fit"):
        raise ClusterError("the barrier job of 2 ranks was cancelled")
    with pytest.raises(KeyboardInterrupt), names_stop(stopped, "the fit"):
        raise KeyboardInterrupt


def test_what_fails_while_the_application_runs_is_told_as_it_is(spark: SparkSession) -> None:
    with pytest.raises(AttributeError, match="setCallSite"), names_stop(spark, "the fit"):
        raise AttributeError("setCallSite")


def test_an_interrupt_ends_a_job_that_spark_still_plans(
    spark: SparkSession, rows_planned_slowly: DataFrame, tmp_path: Path
) -> None:
    ended: list[str] = []

    def collect() -> None:
        try:
            ended.append(str(rows_planned_slowly.collect()))
        except Exception as error:
            ended.append(str(error))

    threads: list[threading.Thread] = []

    def interrupted() -> None:
        with ends_with_interrupt(spark):
            threads.append(threading.Thread(target=in_this_session(spark, collect)))
            threads[0].start()
            deadline = time.monotonic() + 60
            while not (tmp_path / "planning").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    threads[0].join(50)
    assert len(ended) == 1
    assert "cancel" in ended[0].lower()
