"""Rows that the tasks of a job ingest before their ranks start: handed on to a function that the job names.

All tasks tell each other, again and again, how far they are. So those that are done wait as long as any other one goes
on, however long that takes, and one that cannot go on ends all.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sparkdl.cluster.job import ENVIRONMENT, USER_ERROR, Job, Outcome
from sparkdl.cluster.messages import IngestProgress, from_text, to_text
from sparkdl.cluster.spool.spool_file import SpoolFile, no_room
from sparkdl.cluster.task.event_stream import EventStream
from sparkdl.cluster.task.topology import assign, coordinator_host
from sparkdl.errors import ClusterError, SparkDLError
from sparkdl.events import PhaseStarted, to_record

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sparkdl.cluster.task.task import Here

Meet = Callable[[str, float, int], list[str]]
"""Of text, seconds, and the number of the round: the texts of all tasks."""

_PAUSES = (0.05, 2.0)
_EXIT_GRACE = 5.0
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@dataclass(frozen=True)
class Ingest:
    """Rows for the tasks of a launch.

    Attributes
    ----------
    rows : DataFrame
    by : tuple of str
        Rows that agree in these columns go to the same task.
    function : str
        "module:name", importable on the executors, called in each task as ``function(batches, descriptor, arguments)``
        with its Arrow batches and an empty file; what it returns, as JSON, is the `index` of the task's `SpoolSource`.
    arguments : mapping
        JSON values.
    """

    rows: DataFrame
    by: tuple[str, ...]
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the tasks need."""
        return {"function": self.function, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Ingested:
    """How the rows were ingested.

    Attributes
    ----------
    spool_file : SpoolFile or None
        None if a task has failed.
    offer : dict
        Of the spool file, for the meeting.
    outcome : Outcome or None
        What this task has to say where it is the one that failed.
    rounds : int
        How often the tasks have met.
    """

    spool_file: SpoolFile | None
    offer: Mapping[str, Any]
    outcome: Outcome | None
    rounds: int


def ingest_rows(job: Job, here: Here, batches: Iterator[Any], meet: Meet) -> Ingested:
    """Take in the rows of one task; return when all tasks have theirs, or one has failed.

    Raises
    ------
    TimeoutError
        A task has not come to a meeting, or no task got rows, for `heartbeat_timeout`.
    """
    assert job.ingest is not None
    began = time.monotonic()
    if here.index == 0:
        # A driver that cannot be reached must not delay anybody.
        threading.Thread(target=_say, args=(job,), name="sparkdl-say", daemon=True).start()
    rounds = _Rounds(job, here, meet)
    with contextlib.ExitStack() as failed:
        failed.callback(rounds.leave)
        spool_file: SpoolFile | None = None
        index: Any = None
        try:
            spool_file = SpoolFile(job.secret, job.heartbeat_timeout)
            failed.callback(spool_file.close)
            index = _function(job)(rounds.counted(batches), spool_file.descriptor, job.ingest["arguments"])
        except _LeftError:
            pass
        except SparkDLError as error:
            rounds.fail(error)
        except OSError as error:
            # Any other one is of the stream of rows, and Spark's to report.
            if spool_file is None or error.errno not in _OF_DISKS:
                raise
            rounds.fail(no_room(spool_file.folder, error))
        together = rounds.finish()
        if together and spool_file is not None:
            spool_file.seconds = time.monotonic() - began
            host = here.hosts[here.index]
            address = coordinator_host(here.hosts) if len(set(here.hosts)) == 1 else host
            offer = {**spool_file.offer(address, index), "host": host, "address": address}
            failed.pop_all()
            return Ingested(spool_file, offer, None, rounds.number)
    return Ingested(None, {}, None if rounds.error is None else _refusal(job, here, rounds.error), rounds.number)


class _LeftError(Exception):
    """Another task has failed: nothing more has to be ingested."""


class _Rounds:
    """The meetings of the tasks while they ingest rows, in a thread beside the reading."""

    def __init__(self, job: Job, here: Here, meet: Meet) -> None:
        self.number = 0
        self.error: SparkDLError | None = None
        self._hosts = here.hosts
        self._limit = job.heartbeat_timeout
        self._meet = meet
        self._change = threading.Condition()
        self._batches = 0
        self._reading = True
        self._left = False
        self._over = False
        self._together = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sparkdl-ingest", daemon=True)
        self._thread.start()

    def counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Hand on the batches as long as all tasks are well."""
        for batch in batches:
            self._batches += 1
            if self._over:
                raise _LeftError
            yield batch

    def fail(self, error: SparkDLError) -> None:
        """Say that this task cannot go on."""
        self.error = error

    def leave(self) -> None:
        """Come to no other meeting: Spark ends the tasks that wait for one that has raised."""
        with self._change:
            self._left, self._reading = True, False
            self._change.notify_all()

    def finish(self) -> bool:
        """Say that this task has read its rows; return whether all have theirs."""
        with self._change:
            self._reading = False
            self._change.notify_all()
        # Each meeting has its limit, and so has their number without progress.
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._together

    def _run(self) -> None:
        try:
            self._together = self._meet_until_all_are_done()
        except BaseException as error:
            self._failure = error
        self._over = True
        if self._failure is not None:
            self._leave_if_stuck()

    def _meet_until_all_are_done(self) -> bool:
        pause, longest = _PAUSES[0], min(_PAUSES[1], self._limit / 4)
        seen: list[str] = []
        since = time.monotonic()
        while True:
            with self._change:
                self._change.wait_for(lambda: not self._reading, pause)
                if self._left:
                    return False
                problem = "" if self.error is None else str(self.error) or type(self.error).__name__
                said = IngestProgress(self._batches, not self._reading, problem)
            texts = self._meet(to_text(said), self._limit, self.number)
            self.number += 1
            told = [each for text in texts if isinstance(each := from_text(text), IngestProgress)]
            if len(told) < len(texts) or any(each.problem for each in told):
                return False
            if all(each.done for each in told):
                return True
            if texts != seen:
                seen, since = texts, time.monotonic()
            elif time.monotonic() - since > self._limit:
                late = sorted({host for host, each in zip(self._hosts, told, strict=True) if not each.done})
                raise TimeoutError(f"no rows came to the tasks on {', '.join(late)} for {self._limit:g} s")
            pause = min(longest, 2 * pause)

    def _leave_if_stuck(self) -> None:
        """End this process where it still waits for rows: nothing else ends such a read."""
        with self._change:
            if self._change.wait_for(lambda: not self._reading, _EXIT_GRACE):
                return
        print(f"sparkdl: {self._failure}", file=sys.stderr, flush=True)
        os._exit(1)


def _function(job: Job) -> Callable[..., Any]:
    assert job.ingest is not None
    module, _, name = str(job.ingest["function"]).partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ClusterError(f"an executor has no {module} ({error}): install the same sparkdl on all hosts") from error
    return found


def _refusal(job: Job, here: Here, error: SparkDLError) -> Outcome:
    topology = assign(here.hosts)[here.index]
    outcome = Outcome(
        kind=ENVIRONMENT,
        rank=topology.rank,
        host=topology.host,
        message=f"rank {topology.rank} cannot run on host {topology.host}: {error}",
        order=topology.rank,
    )
    if isinstance(error, ClusterError):
        return outcome
    import cloudpickle

    return replace(outcome, kind=USER_ERROR, message=str(error), blob=cloudpickle.dumps(error))


def _say(job: Job) -> None:
    """Tell the driver that rows are spooled, where it can be reached."""
    output = EventStream(0)
    output.dial(job.driver, job.secret, 5.0)
    output.put(to_record(PhaseStarted("spool")))
    with contextlib.suppress(Exception):
        output.close(5.0)
