"""Whether Spark lets its Python workers take as much address space as torch needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkdl.errors import ClusterError
from sparkdl.spark.session import conf, conf_bytes, conf_int

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SETTING = "spark.executor.pyspark.memory"
_LEAST = 2 << 30
"""Bytes of address space without which no torch that we know can be imported; with CUDA it is up to twice that."""


def check_python_memory(spark: SparkSession) -> None:
    """Refuse a limit under which a Python worker cannot import torch; ranks inherit it.

    Raises
    ------
    ClusterError
        Names the setting and what it would have to be. Without it a task says "can't start new thread", or "failed to
        map segment from shared object".
    """
    given = conf(spark, _SETTING)
    if not given:
        return
    # Spark divides it among the tasks that an executor can run at once; a number alone is MiB.
    cores = max(1, conf_int(spark, "spark.executor.cores", 1))
    each = conf_bytes(spark, _SETTING, given, unit="m") // cores
    if each < _LEAST:
        raise ClusterError(
            f"{_SETTING}={given} leaves each Python worker {each >> 20:,} MiB of address space, and torch needs 2 to 4 "
            f"GiB: set it to {4 * cores}g or more, or leave it out"
        )
