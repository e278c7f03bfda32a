"""A barrier stage and what each of its tasks gets: the session's resources, or a profile of its own (stage-level
scheduling).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from sparkdl.errors import ClusterError
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.session import registered_slots, task_slots

CPUS = "cpus"

_REMEDY = "leave taskResources out, and set spark.task.cpus and spark.task.resource.gpu.amount instead"
_AGAIN_AFTER = 15.0
"""Spark's own pause, spark.scheduler.barrier.maxConcurrentTasksCheck.interval."""
_LOOK_EVERY = 0.2
_PROFILES: dict[tuple[str, tuple[tuple[str, float], ...]], Any] = {}


def collect_barrier(
    spark: SparkSession,
    facts: SessionFacts,
    task: Callable[[Iterator[Any]], Iterator[Any]],
    size: int,
    schema: str,
    resources: Mapping[str, float] | None = None,
    dealt: tuple[DataFrame, Sequence[str]] | None = None,
) -> list[Any]:
    """Run `size` tasks at once and return their rows.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
    task : callable
        As for ``DataFrame.mapInArrow``.
    size : int
    schema : str
        Of the rows.
    resources : mapping of str to float, optional
        As for `profile_of`.
    dealt : tuple of (DataFrame, sequence of str), optional
        Rows for the tasks, and the columns in which those of one task agree; one row of no meaning for each by default.
    """
    rows = spark.range(0, size, 1, size) if dealt is None else dealt[0].repartition(size, *dealt[1])
    profile = profile_of(spark, facts, resources)
    chosen = {} if profile is None else {"profile": profile}
    done: Any = rows.mapInArrow(task, schema, barrier=True, **chosen)
    found: list[Any] = done.collect()
    return found


def profile_of(spark: SparkSession, facts: SessionFacts, resources: Mapping[str, float] | None) -> Any:
    """Return the resource profile for tasks that get these resources; None where they get what the session says.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
    resources : mapping of str to float or None
        Amount by name: "cpus", and those that the executors have ("gpu").

    Raises
    ------
    ClusterError
        If this pyspark or this master has no stage-level scheduling of tasks.
    """
    if not resources:
        return None
    shown = ", ".join(f"{name}: {amount:g}" for name, amount in resources.items())
    if "profile" not in inspect.signature(DataFrame.mapInArrow).parameters:
        raise ClusterError(f"taskResources={{{shown}}} needs pyspark 4.0 or later: {_REMEDY}")
    if facts.local:
        raise ClusterError(f"taskResources={{{shown}}} needs a cluster, a local master has one kind of task: {_REMEDY}")
    # Every profile that is made stays with the application, so equal ones are made once.
    key = (_application(spark, facts), tuple(sorted(resources.items())))
    if key not in _PROFILES:
        _PROFILES[key] = _registered(spark, facts, resources, shown)
    return _PROFILES[key]


def barrier_slots(spark: SparkSession, facts: SessionFacts, resources: Mapping[str, float] | None = None) -> int | None:
    """Return how many tasks with these resources the cluster can run at once; None where nobody can tell.

    Raises
    ------
    ClusterError
        As `profile_of`.
    """
    profile = profile_of(spark, facts, resources)
    if profile is None:
        return task_slots(spark, facts)
    return None if facts.connect else registered_slots(spark, profile)


def await_slots(
    spark: SparkSession, facts: SessionFacts, size: int, resources: Mapping[str, float] | None = None
) -> bool:
    """Wait until so many tasks can run at once on the executors that have registered; return whether they can.

    Spark looks only every 15 s whether a barrier stage fits, and an executor that comes back takes about 3 s. Over
    Connect nobody can tell, and it is left to Spark.
    """
    if facts.connect:
        return True
    profile = profile_of(spark, facts, resources)
    deadline = time.monotonic() + _AGAIN_AFTER
    while registered_slots(spark, profile) < size:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def _application(spark: SparkSession, facts: SessionFacts) -> str:
    connected: Any = spark
    return str(connected.session_id if facts.connect else spark.sparkContext.applicationId)


def _registered(spark: SparkSession, facts: SessionFacts, resources: Mapping[str, float], shown: str) -> Any:
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    # Spark fails on a profile that does not say how many CPUs a task takes.
    requests = TaskResourceRequests().cpus(int(resources.get(CPUS, facts.task_cpus)))
    for name, amount in resources.items():
        if name != CPUS:
            requests = requests.resource(name, amount)
    profile = ResourceProfileBuilder().require(requests).build
    try:
        if facts.connect:
            # Asking for its number is what makes the server register it.
            _ = profile.id
        else:
            context: Any = spark.sparkContext._jsc.sc()
            context.resourceProfileManager().addResourceProfile(profile._java_resource_profile)
    except Exception as error:
        cause = getattr(error, "java_exception", None)
        said = (cause.getMessage() if cause is not None else str(error)).splitlines()[0]
        raise ClusterError(f"Spark refuses taskResources={{{shown}}} ({said}): {_REMEDY}") from error
    return profile
