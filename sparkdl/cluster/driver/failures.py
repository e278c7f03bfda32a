"""From outcomes and from Spark's own errors to the one exception that the driver raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

import cloudpickle

from sparkdl.cluster.job import ENVIRONMENT, OK, RANK_LOST, TIMED_OUT, USER_ERROR, Outcome
from sparkdl.errors import ClusterError, RankError, RankLostError, SparkDLError, StartTimeoutError
from sparkdl.spark.causes import cause_of
from sparkdl.spark.executors import host_in, shortcoming

_LOST = (
    "ExecutorLostFailure",
    "Executor heartbeat timed out",
    "FetchFailed",
    "worker lost",
    "Python worker exited unexpectedly",
    "Could not recover from a failed barrier ResultStage",
)
_CANCELLED = ("cancelled", "canceled", "INTERRUPTED", "OPERATION_CANCELED", "SparkContext was shut down")


class SparkFailure(Exception):
    """The barrier job itself failed.

    Attributes
    ----------
    error : SparkDLError
        What the user is told.
    executor_lost : bool
        Whether a new attempt may succeed.
    explained : bool
        Whether `error` says it all, so that Spark's own pages of trace would only hide it.
    """

    def __init__(self, error: SparkDLError, executor_lost: bool = False, explained: bool = True) -> None:
        super().__init__(str(error))
        self.error = error
        self.executor_lost = executor_lost
        self.explained = explained


def first_failure(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome that explains the others: the root cause, else the first secondary failure."""
    failed = [outcome for outcome in outcomes if outcome.kind != OK]
    return min(
        failed, key=lambda outcome: (outcome.kind != ENVIRONMENT, outcome.secondary, outcome.order, outcome.rank)
    )


def worth_another_try(outcomes: Sequence[Outcome]) -> bool:
    """Return whether a rank was lost in a way that a new attempt may not meet again."""
    failed = [outcome for outcome in outcomes if outcome.kind != OK]
    return bool(failed) and first_failure(failed).kind == RANK_LOST


def raise_failure(outcomes: Sequence[Outcome]) -> NoReturn:
    """Raise the one error for outcomes that are not all well."""
    if all(outcome.kind == OK for outcome in outcomes):
        raise ClusterError(f"only {len(outcomes)} tasks of the barrier stage answered")
    outcome = first_failure(outcomes)
    where = f"rank {outcome.rank} on host {outcome.host} failed"
    if outcome.kind == ENVIRONMENT:
        raise ClusterError(outcome.message)
    if outcome.kind == TIMED_OUT:
        raise StartTimeoutError(outcome.message)
    if outcome.kind == USER_ERROR:
        _raise_users(outcome, where)
    tail = f"\nThe last lines that it wrote:\n{outcome.log_tail}" if outcome.log_tail else ""
    raise RankLostError(
        f"{where}: it {outcome.message}{tail}", rank=outcome.rank, host=outcome.host, log_tail=outcome.log_tail
    )


def _raise_users(outcome: Outcome, where: str) -> NoReturn:
    cause = _unpickled(outcome.blob)
    if isinstance(cause, SparkDLError) and not isinstance(cause, RankError):
        cause.add_note(f"{where}:\n{outcome.traceback}")
        raise cause
    reason = outcome.message
    if outcome.secondary:
        reason = (
            "it lost the other ranks although none of them failed: all ranks must make the same collective calls, and "
            f"as many of them ({reason})"
        )
    raise RankError(
        f"{where}: {reason}\n\n{outcome.traceback}",
        rank=outcome.rank,
        host=outcome.host,
        traceback_text=outcome.traceback,
        log_tail=outcome.log_tail,
    ) from cause


def _unpickled(blob: bytes) -> BaseException | None:
    if not blob:
        return None
    try:
        error = cloudpickle.loads(blob)
    except Exception:
        # Its class may exist on the rank only; the message and the traceback say enough.
        return None
    return error if isinstance(error, BaseException) else None


def failed_task(error: BaseException) -> tuple[int, int] | None:
    """Return stage and partition of the barrier task that Spark says has failed."""
    found = re.search(r"barrier task ResultTask\((\d+), (\d+)\)", str(error))
    return (int(found[1]), int(found[2])) if found else None


def from_spark(error: BaseException, num_procs: int, host: str | None = None, *, stopped: bool = False) -> SparkFailure:
    """Return what an exception of the barrier job means for the user.

    Parameters
    ----------
    error : BaseException
    num_procs : int
    host : str, optional
        Where the failed task ran.
    stopped : bool
        Whether the application has been stopped: Spark's own words are of what it has no longer then.
    """
    if stopped:
        said = f"the barrier job of {num_procs} ranks was cancelled: the Spark application was stopped while they ran"
        return SparkFailure(ClusterError(said))
    text = str(error)
    host = host or host_in(text)
    late = re.search(r"TimeoutError: (the tasks of the barrier stage did not meet within [^\n]+)", text)
    if late is not None:
        return SparkFailure(StartTimeoutError(late[1]))
    lacking = shortcoming(error, host)
    if lacking is not None:
        return SparkFailure(ClusterError(lacking))
    if any(word in text for word in _CANCELLED) and "barrier" not in text.partition("\n")[0]:
        return SparkFailure(ClusterError(f"the barrier job of {num_procs} ranks was cancelled: {cause_of(text)}"))
    # Spark says of every failure of a barrier stage that it could not recover from it.
    raised = re.search(r"\n(\w+(?:Error|Exception): [^\n]+)\n SQLSTATE", text)
    if any(word in text for word in _LOST) and raised is None:
        return SparkFailure(
            RankLostError(f"an executor at {host} was lost while {num_procs} ranks ran: {cause_of(text)}"),
            executor_lost=True,
            explained=False,
        )
    reason = raised[1] if raised is not None else cause_of(text)
    return SparkFailure(ClusterError(f"the barrier job of {num_procs} ranks failed: {reason}"), explained=False)
