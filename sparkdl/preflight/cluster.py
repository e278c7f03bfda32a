"""Whether the cluster can run a barrier job of so many ranks, asked before Spark waits ten minutes for slots."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError, SettingError
from sparkdl.spark import session as spark_session

_DYNAMIC = "spark.dynamicAllocation.enabled"
_REGISTERING = 20.0
"""Seconds in which the executors of a fresh application may still register."""


def check_cluster(
    spark: SparkSession, num_procs: int, *, name: str = "numProcs", patience: float = _REGISTERING
) -> None:
    """Refuse a number of ranks that this cluster can never run at once.

    Parameters
    ----------
    spark : SparkSession
        Over Spark Connect the number of slots is unknown, and only the settings are looked at.
    num_procs : int
    name : str
        How the user calls that number.
    patience : float
        Seconds to wait for executors that have not registered yet.

    Raises
    ------
    SettingError
        If `num_procs` is below 1.
    ClusterError
        If dynamic allocation is on (every barrier job fails with it), or there are too few task slots.
    """
    if num_procs < 1:
        raise SettingError(f"{name}={num_procs} is not a number of ranks: give 1 or more")
    if not spark_session.is_local(spark) and spark_session.conf_bool(spark, _DYNAMIC, False):
        raise ClusterError(
            f"{_DYNAMIC}=true, and Spark runs no barrier stage with it (SPARK-24942): "
            "set it to false for this application"
        )
    slots = spark_session.task_slots(spark)
    deadline = time.monotonic() + (0 if spark_session.is_local(spark) else patience)
    while slots is not None and slots < num_procs and time.monotonic() < deadline:
        time.sleep(0.5)
        slots = spark_session.task_slots(spark)
    if slots is not None and slots < num_procs:
        slot = "slot" if num_procs == 1 else "slots"
        raise ClusterError(
            f"{name}={num_procs} needs {num_procs} task {slot}, this cluster has {slots}: lower {name} or add executors"
        )
