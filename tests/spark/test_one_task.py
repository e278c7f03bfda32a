from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError, DataError
from sparkdl.spark.one_task import in_one_task


def test_a_value_comes_back(spark: SparkSession) -> None:
    here = os.getpid()
    assert in_one_task(spark, lambda: {"there": os.getpid() != here, "n": [1, None]}) == {"there": True, "n": [1, None]}


def raising(error: BaseException) -> Any:
    def function() -> Any:
        raise error

    return function


def test_an_error_of_ours_keeps_its_class(spark: SparkSession) -> None:
    with pytest.raises(DataError) as error:
        in_one_task(spark, raising(DataError("one sentence")))
    assert str(error.value) == "one sentence"


def test_what_the_executor_lacks_is_a_sentence(spark: SparkSession) -> None:
    with pytest.raises(ClusterError, match="has no nosuch: install it on all hosts"):
        in_one_task(spark, raising(ModuleNotFoundError("No module named 'nosuch'")))
    with pytest.raises(ClusterError, match="has a full disk"):
        in_one_task(spark, raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


def test_any_other_error_is_sparks(spark: SparkSession) -> None:
    with pytest.raises(PySparkException, match="something else"):
        in_one_task(spark, raising(KeyError("something else")))
