"""Tasks that ingest rows side by side, in threads of this process: all have theirs in the end, or none goes on."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from typing import Any

import pytest

from sparkdl.cluster.job import ENVIRONMENT, USER_ERROR, Job
from sparkdl.cluster.spool import ingest as ingest_module
from sparkdl.cluster.spool.ingest import Ingested, ingest_rows
from sparkdl.cluster.task.task import Here
from sparkdl.errors import DataError

pytestmark = pytest.mark.timeout(120)


class Meetings:
    """Meetings of threads, by number."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.change = threading.Condition()
        self.rounds: dict[int, dict[int, str]] = {}

    def of(self, index: int):
        def meet(text: str, timeout: float, number: int) -> list[str]:
            with self.change:
                brought = self.rounds.setdefault(number, {})
                assert index not in brought
                brought[index] = text
                self.change.notify_all()
                if not self.change.wait_for(lambda: len(brought) == self.size, timeout):
                    raise TimeoutError(f"the tasks of the barrier stage did not meet within {timeout:g} s")
                return [brought[each] for each in range(self.size)]

        return meet


def concatenate(batches: Any, descriptor: int, arguments: Any) -> list[int]:
    """Write the batches, which are bytes; the index is their sizes."""
    sizes = []
    for batch in batches:
        if batch == b"other rows":
            raise DataError("the rows are others")
        if batch == b"no room":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if batch == b"what":
            raise ZeroDivisionError("a mistake")
        os.write(descriptor, batch)
        sizes.append(len(batch))
    return [*sizes, arguments["more"]]


def run(tasks: list[Any], heartbeat_timeout: float = 30.0) -> list[Ingested | BaseException]:
    """Let tasks ingest their batches; return what came of each."""
    wanted = {"function": f"{__name__}:concatenate", "arguments": {"more": 7}}
    job = Job("m:f", len(tasks), "local", {}, "secret", heartbeat_timeout=heartbeat_timeout, ingest=wanted)
    meetings = Meetings(len(tasks))
    results: dict[int, Ingested | BaseException] = {}

    def one(index: int) -> None:
        here = Here(index, ("here",) * len(tasks))
        try:
            results[index] = ingest_rows(job, here, iter(tasks[index]), meetings.of(index))
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == len(tasks)
    return [results[index] for index in range(len(tasks))]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is looked up by name; this file has none that import_module knows."""
    monkeypatch.setattr(ingest_module, "_function", lambda job: concatenate)


def open_spool_files(results: list[Any]) -> list[Any]:
    return [result.spool_file for result in results if isinstance(result, Ingested) and result.spool_file is not None]


def test_all_have_their_rows_and_the_same_number_of_meetings():
    def slowly():
        for _ in range(3):
            time.sleep(0.2)
            yield b"slow"

    results = run([[b"ab", b"cde"], slowly(), []])
    spool_files = open_spool_files(results)
    assert [os.pread(spool_file.descriptor, 100, 0) for spool_file in spool_files] == [b"abcde", b"slow" * 3, b""]
    assert [result.offer["index"] for result in results] == [[2, 3, 7], [4, 4, 4, 7], [7]]
    assert [(result.offer["host"], result.offer["address"]) for result in results] == [("here", "127.0.0.1")] * 3
    assert len({result.rounds for result in results}) == 1
    assert json.dumps([result.offer for result in results])
    for spool_file in spool_files:
        assert spool_file.seconds > 0.5
        spool_file.close()


@pytest.mark.parametrize(
    ("batch", "kind", "message"),
    [
        (b"other rows", USER_ERROR, "^the rows are others$"),
        (
            b"no room",
            ENVIRONMENT,
            r"rank 1 cannot run on host here: rows cannot be spooled to /.*No space left.* GB are",
        ),
    ],
)
def test_one_that_cannot_go_on_says_why_and_all_end(batch, kind, message):
    def endless():
        while True:
            time.sleep(0.01)
            yield b"more"

    results = run([endless(), [b"first", batch]])
    assert open_spool_files(results) == []
    outcomes = [result.outcome for result in results]
    assert outcomes[0] is None
    assert (outcomes[1].kind, outcomes[1].rank, outcomes[1].host) == (kind, 1, "here")
    assert re.search(message, outcomes[1].message)


def test_an_error_of_a_refusal_comes_back_as_itself():
    import cloudpickle

    (result,) = run([[b"other rows"]])
    error = cloudpickle.loads(result.outcome.blob)
    assert isinstance(error, DataError)
    assert str(error) == "the rows are others"


def test_a_mistake_is_raised_in_its_task():
    def meeting() -> bool:
        return any(thread.name == "sparkdl-ingest" for thread in threading.enumerate())

    (result,) = run([[b"what"]])
    assert isinstance(result, ZeroDivisionError)
    deadline = time.monotonic() + 30
    while meeting() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not meeting()


def test_who_goes_on_is_waited_for_however_long_it_takes():
    def slowly():
        for _ in range(50):
            time.sleep(0.1)
            yield b"x"

    results = run([[], slowly()], heartbeat_timeout=4.0)
    for spool_file in open_spool_files(results):
        spool_file.close()
    assert [type(result) for result in results] == [Ingested, Ingested]
    assert results[1].offer["index"] == [1] * 50 + [7]


def test_who_gets_no_rows_any_more_is_waited_for_only_so_long(monkeypatch):
    left = threading.Event()
    stuck = threading.Event()
    monkeypatch.setattr(ingest_module, "_EXIT_GRACE", 0.1)
    monkeypatch.setattr(ingest_module.os, "_exit", lambda status: (left.set(), stuck.set()))

    def hangs():
        yield b"x"
        stuck.wait(60)

    results = run([[b"y"], hangs()], heartbeat_timeout=2.0)
    assert isinstance(results[0], TimeoutError)
    assert "no rows came to the tasks on here for 2 s" in str(results[0])
    # Nothing but the end of its process ends a read that hangs.
    assert left.is_set()
    assert open_spool_files(results) == []
