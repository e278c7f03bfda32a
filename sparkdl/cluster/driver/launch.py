"""Launching ranks from the driver: the job, its events while it runs, its restarts, and its value or its one error."""

from __future__ import annotations

import logging
import queue
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
from pyspark.sql import SparkSession

from sparkdl.cluster.driver import results
from sparkdl.cluster.driver.barrier_job import BarrierJob
from sparkdl.cluster.driver.event_server import EventServer
from sparkdl.cluster.driver.failures import (
    SparkFailure,
    failed_task,
    first_failure,
    from_spark,
    raise_failure,
    worth_another_try,
)
from sparkdl.cluster.driver.local_job import LocalJob
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.job import OK, Job, Outcome
from sparkdl.cluster.prefork.prewarm import prewarm
from sparkdl.cluster.spool.ingest import Ingest
from sparkdl.comm.registry import spec_for
from sparkdl.events import Listener, PhaseStarted, from_record
from sparkdl.spark.barrier import await_slots, barrier_slots
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.session import host_of_task, is_stopped

_log = logging.getLogger(__name__)

_POLL = 0.5
_UNLIMITED = 1 << 40
_SMALL = 16 << 20
"""Bytes of a result that Spark carries where a file costs nothing: the driver's JVM is left out of the rest."""


@dataclass(frozen=True)
class Launched:
    """What a launch that succeeded gives back.

    Attributes
    ----------
    value : object
        What the function returned on rank 0.
    outcomes : tuple of Outcome
        One for each rank, in their order.
    seconds : dict of str to float
        "total": from the call to its end; "wait": until the first task ran; "spool": until the tasks had ingested
        their rows, where they were given any; "start": until all ranks had met; "run": the function, on the slowest
        rank.
    """

    value: Any
    outcomes: tuple[Outcome, ...]
    seconds: dict[str, float]


def launch(
    spark: SparkSession,
    facts: SessionFacts,
    function: str,
    kwargs: Mapping[str, Any],
    ranks: Ranks,
    *,
    listener: Listener | None = None,
    max_restarts: int = 0,
    min_procs: int | None = None,
    result_folder: results.ResultFolder | None = None,
    ingest: Ingest | None = None,
) -> Launched:
    """Run a function on ranks, one for each task of a barrier stage.

    Parameters
    ----------
    spark : SparkSession
        Classic or Connect.
    facts : SessionFacts
    function : str
        "module:name", importable on the ranks; called there as ``function(context, **kwargs)`` with a `RankContext`.
    kwargs : mapping
        Sent by cloudpickle.
    ranks : Ranks
    listener : Listener, optional
        Hears the events, from the thread that called.
    max_restarts : int
        How often a new job may follow one that lost a rank or an executor. What the user's code raises ends all.
    min_procs : int, optional
        Ranks that are enough for a restart where the cluster has shrunk; all of them by default.
    result_folder : ResultFolder, optional
        Where rank 0 may write what is more than `SessionFacts.result_limit`; the caller removes it. Without it that is
        an error, except where driver and tasks share a host.
    ingest : Ingest, optional
        Rows that the tasks ingest before their ranks start; `RankContext.spool_sources` has them.

    Returns
    -------
    Launched

    Raises
    ------
    SettingError
        If an argument cannot be sent to the ranks.
    RankError
        If the function raised on a rank: the one that failed first. Its cause is the exception itself where that can
        be pickled. A SparkDLError that the function raised comes back as its own class.
    RankLostError
        If a rank ended in another way.
    StartTimeoutError
        If the ranks did not meet in time.
    ClusterError
        If an executor cannot run a rank, or the job was cancelled.
    """
    begun = time.monotonic()
    here = results.local_folder() if result_folder is None and facts.shares_host else None
    folder = result_folder or here
    job = replace(
        ranks.job(function, kwargs),
        result_folder=b"" if folder is None else cloudpickle.dumps(folder),
        local_master=facts.local,
        prefork=facts.warm_ranks,
        max_result_bytes=facts.result_limit if here is None else min(facts.result_limit, _SMALL),
        ingest=None if ingest is None else ingest.to_json(),
    )
    prewarm(spark, facts, job.function, job.env)
    try:
        outcomes, waited = _attempts(spark, facts, job, listener or Listener(), ranks, max_restarts, min_procs, ingest)
        value = _value_of(outcomes, spark, result_folder, job.max_result_bytes)
    finally:
        if here is not None:
            results.remove_local(here)
    return _launched(value, outcomes, waited, begun)


def launch_local(
    function: str, kwargs: Mapping[str, Any], ranks: Ranks, *, listener: Listener | None = None
) -> Launched:
    """Run a function on ranks that are processes on this host, without Spark; otherwise as `launch`."""
    begun = time.monotonic()
    job = replace(ranks.job(function, kwargs), local_master=True, max_result_bytes=_UNLIMITED)
    inbox: queue.Queue[Mapping[str, Any] | None] = queue.Queue(10_000)
    waited = _Waited(listener or Listener())
    _log.info("starting %d ranks on this host, backend %s", job.num_procs, job.backend)
    with EventServer("127.0.0.1", job.secret, inbox, job.num_procs) as events:
        running = LocalJob(replace(job, driver=("127.0.0.1", events.port)), inbox)
        try:
            _hear(running, inbox, waited)
        except BaseException:
            running.cancel()
            raise
        outcomes = running.result()
        _hear_rest(events, inbox, outcomes, waited)
    if not all(outcome.kind == OK for outcome in outcomes):
        raise_failure(outcomes)
    return _launched(cloudpickle.loads(outcomes[0].blob), outcomes, waited, begun)


class _Waited:
    """Hands events to the listener and remembers when the first task ran."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.first_event: float | None = None

    def hear(self, record: Mapping[str, Any]) -> None:
        if self.first_event is None:
            self.first_event = time.monotonic()
        self._listener.on_event(from_record(record))

    def say(self, phase: str, detail: str = "") -> None:
        self._listener.on_event(PhaseStarted(phase, detail))


def _attempts(
    spark: SparkSession,
    facts: SessionFacts,
    job: Job,
    listener: Listener,
    ranks: Ranks,
    max_restarts: int,
    min_procs: int | None,
    ingest: Ingest | None,
) -> tuple[list[Outcome], _Waited]:
    """Run the job until all of its ranks have succeeded, or raise what no other try would change."""
    attempt = 0
    while True:
        try:
            outcomes, waited = _run_job(spark, facts, job, listener, ranks.task_resources, ingest)
        except SparkFailure as failure:
            if not failure.executor_lost or attempt >= max_restarts:
                raise failure.error from None if failure.explained else failure.__cause__
            cause = str(failure.error)
        else:
            if all(outcome.kind == OK for outcome in outcomes) and len(outcomes) == job.num_procs:
                return outcomes, waited
            if not worth_another_try(outcomes) or attempt >= max_restarts:
                raise_failure(outcomes)
            lost = first_failure(outcomes)
            cause = f"rank {lost.rank} on host {lost.host} {lost.message}"
        attempt += 1
        job = _next_attempt(job, ranks.num_procs, barrier_slots(spark, facts, ranks.task_resources), min_procs)
        _log.info("restart %d of %d with %d ranks: %s", attempt, max_restarts, job.num_procs, cause)
        listener.on_event(PhaseStarted("wait", f"restart {attempt} of {max_restarts} with {job.num_procs} ranks"))
        await_slots(spark, facts, job.num_procs, ranks.task_resources)


def _run_job(
    spark: SparkSession,
    facts: SessionFacts,
    job: Job,
    listener: Listener,
    resources: Mapping[str, float],
    ingest: Ingest | None,
) -> tuple[list[Outcome], _Waited]:
    inbox: queue.Queue[Mapping[str, Any] | None] = queue.Queue(10_000)
    waited = _Waited(listener)
    host = facts.driver_host
    waited.say("wait", "" if host else "over Spark Connect progress comes at the end")
    _log.info("launching a barrier job of %d ranks, backend %s", job.num_procs, job.backend)
    with EventServer(facts.bind_address or "127.0.0.1", job.secret, inbox, job.num_procs) as events:
        addressed = replace(job, driver=(host, events.port) if host else None)
        running = BarrierJob(spark, facts, addressed, inbox, resources, ingest)
        try:
            _hear(running, inbox, waited)
        except BaseException:
            running.cancel()
            raise
        try:
            outcomes = running.result()
        except Exception as error:
            task = failed_task(error)
            host = host_of_task(spark, *task) if task is not None else None
            raise from_spark(error, job.num_procs, host, stopped=is_stopped(spark)) from error
        _hear_rest(events, inbox, outcomes, waited)
    return outcomes, waited


def _hear(running: Any, inbox: queue.Queue[Mapping[str, Any] | None], waited: _Waited) -> None:
    while not running.over:
        try:
            record = inbox.get(timeout=_POLL)
        except queue.Empty:
            continue
        if record is not None:
            waited.hear(record)


def _hear_rest(
    events: EventServer, inbox: queue.Queue[Mapping[str, Any] | None], outcomes: list[Outcome], waited: _Waited
) -> None:
    """Hear what was on its way when the job ended, then what never got away."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            record = inbox.get(timeout=0.05)
        except queue.Empty:
            if events.idle:
                break
            continue
        if record is not None:
            waited.hear(record)
    for outcome in outcomes:
        for record in outcome.events:
            waited.hear(record)


def _value_of(outcomes: list[Outcome], spark: SparkSession, folder: results.ResultFolder | None, limit: int) -> Any:
    """Return rank 0's value, which may lie in a file."""
    value = cloudpickle.loads(outcomes[0].blob)
    if isinstance(value, results.ResultFile):
        if folder is None:
            data = results.read_here(value)
        else:
            data = results.read_by_tasks(spark, value, folder.storage_options, limit)
        value = cloudpickle.loads(data)
    return value


def _launched(value: Any, outcomes: list[Outcome], waited: _Waited, begun: float) -> Launched:
    total = time.monotonic() - begun
    seconds = {
        "total": total,
        "wait": (waited.first_event or begun) - begun,
        "start": max(outcome.seconds["start"] for outcome in outcomes),
        "run": max(outcome.seconds["run"] for outcome in outcomes),
    }
    if any("spool" in outcome.seconds for outcome in outcomes):
        seconds["spool"] = max(outcome.seconds["spool"] for outcome in outcomes)
    bare = tuple(replace(outcome, blob=b"", events=()) for outcome in outcomes)
    return Launched(value=value, outcomes=bare, seconds=seconds)


def _next_attempt(job: Job, wanted: int, slots: int | None, min_procs: int | None) -> Job:
    """Return the job with a number of ranks for which there are slots now: also more than the attempt before had."""
    enough = wanted if min_procs is None else min(min_procs, wanted)
    size = wanted if slots is None else max(enough, min(wanted, slots))
    backend = spec_for(job.backend, size)
    # A coordinator of the attempt before, should one still live, must not hear this one.
    secret = secrets.token_hex(32)
    return replace(job, num_procs=size, backend=backend.name, packages=backend.packages, secret=secret)
