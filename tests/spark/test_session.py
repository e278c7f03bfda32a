from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError, DataError
from sparkdl.spark.session import names_stop


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
