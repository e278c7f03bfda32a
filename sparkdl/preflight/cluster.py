"""Whether the cluster can run a barrier job of so many ranks, asked before Spark waits ten minutes for slots."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError, SettingError, invalid
from sparkdl.spark.barrier import barrier_slots
from sparkdl.spark.facts import DYNAMIC_ALLOCATION, SessionFacts

_REGISTERING = 20.0
"""Seconds in which the executors of a fresh application may still register."""


def check_cluster(
    spark: SparkSession,
    facts: SessionFacts,
    num_procs: int,
    resources: Mapping[str, float] | None = None,
    *,
    name: str = "numProcs",
    patience: float = _REGISTERING,
) -> None:
    """Refuse a number of ranks that this cluster can never run at once.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
        Over Spark Connect only the settings are looked at: they may promise slots, or leave their number unknown.
    num_procs : int
    resources : mapping of str to float, optional
        What each rank's task gets ("cpus", "gpu") where that is not what the session says.
    name : str
        How the user calls that number.
    patience : float
        Seconds to wait for executors that have not registered yet.

    Raises
    ------
    SettingError
        If `num_procs` is below 1.
    ClusterError
        If dynamic allocation is on (every barrier job fails with it), there are too few task slots, or Spark cannot
        give tasks resources of their own here.
    """
    if num_procs < 1:
        raise SettingError(invalid(name, num_procs, "an integer >= 1"))
    if not facts.local and facts.dynamic_allocation:
        raise ClusterError(
            f"{DYNAMIC_ALLOCATION}=true, and Spark runs no barrier stage with it (SPARK-24942): "
            "set it to false for this application"
        )
    slots = barrier_slots(spark, facts, resources)
    deadline = time.monotonic() + (0 if facts.local else patience)
    while slots is not None and slots < num_procs and time.monotonic() < deadline:
        time.sleep(0.5)
        slots = barrier_slots(spark, facts, resources)
    if slots is not None and slots < num_procs:
        slot = "slot" if num_procs == 1 else "slots"
        each = "".join(f", {amount:g} {what}" for what, amount in (resources or {}).items())
        needs = f"{num_procs} task {slot}{f' of{each[1:]} each' if each else ''}"
        more = _larger_master(facts, num_procs * facts.task_cpus) if facts.local else "add executors"
        raise ClusterError(f"{name}={num_procs} needs {needs}, this cluster has {slots}: lower {name} or {more}")


def _larger_master(facts: SessionFacts, threads: int) -> str:
    where = "start the server" if facts.connect else "create the session"
    return f'{where} with master("local[{threads}]")'
