from __future__ import annotations

import cloudpickle
import pytest

from sparkdl.cluster.driver.failures import first_failure, from_spark, raise_failure, worth_another_try
from sparkdl.cluster.job import ENVIRONMENT, OK, RANK_LOST, TIMED_OUT, USER_ERROR, Outcome
from sparkdl.errors import ClusterError, DataError, RankError, RankLostError, StartTimeoutError

FINE = Outcome(kind=OK, rank=0)


def failed(kind: str, rank: int, order: int, message: str = "m", blob: bytes = b"", secondary: bool = False) -> Outcome:
    return Outcome(
        kind=kind,
        rank=rank,
        host="h",
        message=message,
        traceback="TRACE",
        order=order,
        secondary=secondary,
        blob=blob,
    )


def test_the_first_cause_is_the_answer_and_the_environment_before_it():
    late, first = failed(USER_ERROR, 0, 2), failed(RANK_LOST, 1, 1)
    assert first_failure([FINE, late, first]) is first
    lost_peers = failed(USER_ERROR, 2, 0, secondary=True)
    assert first_failure([FINE, lost_peers, late, first]) is first
    missing = failed(ENVIRONMENT, 2, 2)
    assert first_failure([late, first, missing]) is missing


def test_only_lost_ranks_are_worth_another_try():
    assert worth_another_try([FINE, failed(RANK_LOST, 1, 0)])
    assert not worth_another_try([failed(RANK_LOST, 1, 2), failed(USER_ERROR, 0, 0)])
    assert not worth_another_try([failed(TIMED_OUT, 1, 0)])


def test_the_users_exception_is_the_cause_with_the_ranks_traceback():
    outcome = failed(USER_ERROR, 1, 0, "KeyError: 'k'", cloudpickle.dumps(KeyError("k")))
    with pytest.raises(RankError, match="rank 1 on host h failed: KeyError: 'k'\n\nTRACE") as caught:
        raise_failure([FINE, outcome])
    assert isinstance(caught.value.__cause__, KeyError)
    assert (caught.value.rank, caught.value.host, caught.value.traceback_text) == (1, "h", "TRACE")


def test_an_exception_that_cannot_be_unpickled_is_still_told():
    with pytest.raises(RankError, match="Strange: gone") as caught:
        raise_failure([FINE, failed(USER_ERROR, 1, 0, "Strange: gone", b"no pickle")])
    assert caught.value.__cause__ is None


def test_our_own_errors_keep_their_class_and_sentence():
    outcome = failed(USER_ERROR, 1, 0, "DataError: bad", cloudpickle.dumps(DataError("column x is bad")))
    with pytest.raises(DataError, match="^column x is bad") as caught:
        raise_failure([FINE, outcome])
    assert str(caught.value) == "column x is bad"
    assert caught.value.__notes__ == ["rank 1 on host h failed:\nTRACE"]


def test_a_secondary_without_a_cause_says_what_to_look_for():
    with pytest.raises(RankError, match="although none of them failed: all ranks must make the same collective calls"):
        raise_failure([FINE, failed(USER_ERROR, 1, 0, "HorovodInternalError: x", secondary=True)])


@pytest.mark.parametrize(
    ("kind", "error"), [(RANK_LOST, RankLostError), (TIMED_OUT, StartTimeoutError), (ENVIRONMENT, ClusterError)]
)
def test_each_kind_has_its_error(kind, error):
    with pytest.raises(error, match="m"):
        raise_failure([FINE, failed(kind, 1, 0)])


LOST_TASK = "Lost task 1.0 in stage 0.0 (TID 1) (10.0.0.7 executor 3): "


@pytest.mark.parametrize(
    ("text", "sentence", "lost"),
    [
        (
            LOST_TASK + "ModuleNotFoundError: No module named 'pyarrow'",
            r"10.0.0.7 \(executor 3\) has no pyarrow: in",
            False,
        ),
        (
            LOST_TASK + "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.10 than that in driver: "
            "3.11, PySpark cannot run",
            r"10.0.0.7 \(executor 3\) has Python 3.10, the driver has 3.11: set PYSPARK_PYTHON",
            False,
        ),
        ("Job 3 cancelled as part of cancellation of all jobs", "of 2 ranks was cancelled", False),
        (
            "ExecutorLostFailure (executor 1 exited caused by one of the running tasks)",
            "was lost while 2 ranks ran",
            True,
        ),
        ("An error occurred while calling o1.collect\n: java.lang.Odd", "of 2 ranks failed: java.lang.Odd$", False),
        (
            "An error occurred while calling o1.collect.\n: org.apache.spark.SparkException: Job 3 cancelled as part "
            "of cancellation of all jobs\n\tat org.apache.spark.A",
            "of 2 ranks was cancelled: Job 3 cancelled as part of cancellation of all jobs$",
            False,
        ),
        (
            "An error occurred while calling o1.collect.\n: java.lang.OutOfMemoryError: Java heap space\n\tat a.B",
            "of 2 ranks failed: java.lang.OutOfMemoryError: Java heap space$",
            False,
        ),
        (
            "Could not recover from a failed barrier ResultStage.\n[PYTHON_EXCEPTION] Traceback:\n"
            "OSError: disk full\n SQLSTATE: 38000",
            "of 2 ranks failed: OSError: disk full",
            False,
        ),
    ],
)
def test_sparks_own_failures_become_one_sentence(text, sentence, lost):
    failure = from_spark(RuntimeError(text), 2)
    assert failure.executor_lost is lost
    with pytest.raises((ClusterError, RankLostError), match=sentence):
        raise failure.error


def test_what_a_stopped_application_says_does_not_matter() -> None:
    null = ': java.lang.NullPointerException: Cannot invoke "DAGScheduler.cleanupQueryJobs(long)" because ... is null'
    failure = from_spark(RuntimeError(f"An error occurred while calling o1.collectToPython.\n{null}"), 2, stopped=True)
    assert not failure.executor_lost
    assert str(failure.error) == (
        "the barrier job of 2 ranks was cancelled: the Spark application was stopped while they ran"
    )
