"""The supervisor's state machine by itself: the test plays rank, watchdog and coordinator, and moves the clock."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkdl.cluster.job import OK, RANK_LOST, TIMED_OUT, USER_ERROR, Job, Outcome
from sparkdl.cluster.messages import (
    Abort,
    Done,
    EventRecord,
    Failed,
    FailureOrder,
    Go,
    Heartbeat,
    Interrupted,
    Left,
    Message,
    ProcessEnded,
    Raised,
    Ready,
    Returned,
    RunFunction,
)
from sparkdl.cluster.rank.process import RankProcess
from sparkdl.cluster.rpc import Channel
from sparkdl.cluster.task.event_stream import EventStream
from sparkdl.cluster.task.supervisor import ABORT_GRACE, Supervisor, describe_status
from sparkdl.cluster.task.topology import assign

pytestmark = pytest.mark.timeout(60)
WORK = RunFunction("m:f", {}, {}, 1 << 20, spool_sources=[], arguments=b"arguments")


class Scene:
    """A supervisor in a thread, and the other ends of all its connections."""

    def __init__(self, folder: str, backend: str = "local", verbosity: str = "all") -> None:
        self.now = 100.0
        (ours, self.rank), (lifeline, self.watchdog), (control, self.coordinator) = (
            tuple(Channel(sock) for sock in socket.socketpair()) for _ in range(3)
        )
        (stdout, self.stdout), (stderr, stderr_end) = os.pipe(), os.pipe()
        self.outputs = [self.stdout, stderr_end]
        process = RankProcess(ours, lifeline, stdout, stderr, folder)
        job = Job("m:f", 2, backend, {}, "secret", start_timeout=30.0, heartbeat_timeout=60.0, verbosity=verbosity)
        self.output = EventStream(1)
        self.supervisor = Supervisor(
            job, assign(["a", "b"])[1], process, control, self.output, WORK, self.now, clock=lambda: self.now
        )
        self.outcome: Outcome | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.outcome = self.supervisor.run()

    def begin(self) -> None:
        """Bring the rank to its function."""
        self.rank.send(Ready())
        assert self.told() == Ready()
        self.coordinator.send(Go())
        assert self.rank.recv() == WORK

    def told(self) -> Message | None:
        """What the coordinator hears next, heartbeats apart."""
        while isinstance(message := self.coordinator.recv(), Heartbeat):
            pass
        return message

    def killed(self) -> bool:
        """Wait until the supervisor closes the lifeline, which ends the rank."""
        return self.watchdog.recv() is None

    def end(self, status: int = 0) -> None:
        """Let the rank's process end."""
        self.rank.close()
        self.watchdog.try_send(ProcessEnded(status))
        self.watchdog.close()
        while self.outputs:
            os.close(self.outputs.pop())

    def result(self) -> Outcome:
        self.thread.join(30)
        assert self.outcome is not None
        return self.outcome


@pytest.fixture
def scene(tmp_path) -> Iterator[Scene]:
    scene = Scene(str(tmp_path))
    yield scene
    scene.coordinator.close()
    scene.end()
    scene.thread.join(30)
    assert not scene.thread.is_alive()


def test_a_rank_that_returns_is_done(scene: Scene) -> None:
    scene.begin()
    scene.now += 7
    scene.rank.send(Returned(b"value"))
    scene.end()
    assert scene.told() == Done()
    outcome = scene.result()
    assert (outcome.kind, outcome.rank, outcome.host, outcome.blob) == (OK, 1, "b", b"value")
    assert (outcome.order, outcome.secondary) == (-1, False)
    assert outcome.seconds == {"start": 0.0, "run": 7.0}


def test_a_failure_is_told_at_once_and_gets_its_order(scene: Scene) -> None:
    scene.begin()
    scene.rank.send(Raised("ValueError: bad", "TRACE", secondary=False, error=b"pickle"))
    assert scene.told() == Failed(secondary=False, sentence="rank 1 on host b: ValueError: bad")
    scene.coordinator.send(FailureOrder(3, secondary=True))
    scene.end()
    outcome = scene.result()
    assert (outcome.kind, outcome.message, outcome.traceback, outcome.blob) == (
        USER_ERROR,
        "ValueError: bad",
        "TRACE",
        b"pickle",
    )
    assert (outcome.order, outcome.secondary) == (3, True)


def test_without_an_answer_a_failure_stands_behind_those_that_have_one(scene: Scene) -> None:
    scene.begin()
    scene.rank.send(Left("called sys.exit(3)", secondary=False))
    assert isinstance(scene.told(), Failed)
    scene.coordinator.close()
    scene.end(3)
    outcome = scene.result()
    assert (outcome.kind, outcome.message) == (RANK_LOST, "called sys.exit(3)")
    assert (outcome.order, outcome.secondary) == (3, True)


def test_an_abort_before_the_function_ends_the_rank_at_once(scene: Scene) -> None:
    scene.coordinator.send(Abort("rank 0: KeyError"))
    assert scene.killed()
    scene.end(-signal.SIGKILL)
    assert isinstance(failure := scene.told(), Failed)
    assert failure.secondary
    scene.coordinator.send(FailureOrder(1, secondary=True))
    assert scene.result().message == "ended because of another failure: rank 0: KeyError"


def test_a_rank_that_does_not_hear_of_the_abort_is_killed_after_two_seconds(scene: Scene) -> None:
    scene.begin()
    scene.coordinator.send(Abort("why"))
    assert scene.rank.recv() == Abort("why")
    scene.now += 2
    assert scene.killed()
    scene.end(-signal.SIGKILL)
    assert scene.told() == Failed(secondary=True, sentence="rank 1 on host b: ended because of another failure: why")


def test_a_rank_that_has_heard_of_the_abort_has_longer_to_end(scene: Scene) -> None:
    scene.begin()
    scene.coordinator.send(Abort("why"))
    assert scene.rank.recv() == Abort("why")
    scene.rank.send(Interrupted())
    # Handled when the next message has been.
    scene.rank.send(EventRecord({"event": "RankOutput", "rank": 1, "line": "x", "stream": "stdout"}))
    scene.now += 2
    assert not scene.supervisor._killed_because
    scene.rank.send(Raised("KeyboardInterrupt", "", secondary=True))
    assert isinstance(scene.told(), Failed)
    scene.coordinator.send(FailureOrder(1, secondary=True))
    scene.end()
    assert scene.result().message == "KeyboardInterrupt"
    assert ABORT_GRACE > 2


@pytest.mark.parametrize(
    ("ready", "seconds", "kind", "message"),
    [
        (False, 31, TIMED_OUT, "rank 1 on host b was not ready within 30 s: torch was still being imported"),
        (True, 61, RANK_LOST, "gave no heartbeat for 60 s"),
    ],
)
def test_a_silent_rank_is_killed_when_its_time_is_over(
    scene: Scene, ready: bool, seconds: float, kind: str, message: str
) -> None:
    if ready:
        scene.begin()
    scene.now += seconds
    assert scene.told() == Failed(secondary=False, sentence=f"rank 1 on host b: {message}")
    assert scene.killed()
    scene.coordinator.send(FailureOrder(0, secondary=False))
    scene.end(-signal.SIGKILL)
    outcome = scene.result()
    assert (outcome.kind, outcome.message) == (kind, message)


def test_a_rank_that_has_returned_and_does_not_leave_is_killed_and_has_its_value(scene: Scene) -> None:
    scene.begin()
    scene.rank.send(Returned(b"value"))
    scene.rank.send(Heartbeat())
    while scene.supervisor._exit_by is None:
        time.sleep(0.01)
    scene.now += 11
    assert scene.killed()
    scene.end(-signal.SIGKILL)
    assert scene.result().blob == b"value"


def test_the_coordinators_end_ends_the_rank(scene: Scene) -> None:
    scene.coordinator.close()
    assert scene.killed()
    scene.end(-signal.SIGKILL)
    assert "the coordinator in the task of rank 0 is gone" in scene.result().message


@pytest.mark.parametrize(("backend", "secondary"), [("horovod", True), ("torch", False)])
def test_only_horovods_abort_may_follow_from_another_failure(tmp_path, backend: str, secondary: bool) -> None:
    scene = Scene(str(tmp_path), backend)
    scene.begin()
    scene.end(-signal.SIGABRT)
    assert scene.told() == Failed(secondary=secondary, sentence="rank 1 on host b: was ended by SIGABRT")
    scene.coordinator.close()
    assert scene.result().kind == RANK_LOST


def test_bytes_that_are_no_message_are_the_end_of_the_rank(scene: Scene) -> None:
    scene.begin()
    os.write(scene.rank.fileno(), b"\x00\x00\x00\x02" + bytes(8) + b"[]")
    scene.end(70)
    assert isinstance(scene.told(), Failed)
    scene.coordinator.send(FailureOrder(0, secondary=False))
    assert scene.result().message == "ended with exit code 70 before its function returned"


def test_lines_and_events_go_the_way_of_events(scene: Scene) -> None:
    scene.begin()
    os.write(scene.stdout, b"one line\n")
    scene.rank.send(Returned())
    scene.end()
    assert scene.told() == Done()
    assert scene.result().log_tail == "one line"
    assert scene.output.close(1) == ({"event": "RankOutput", "rank": 1, "line": "one line", "stream": "stdout"},)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "disappeared together with its watchdog"),
        (3, "ended with exit code 3 before its function returned"),
        (-9, "was ended by SIGKILL (often the out-of-memory killer)"),
        (-11, "was ended by SIGSEGV"),
        (-250, "was ended by signal 250"),
    ],
)
def test_ends_are_described_in_words(status: int | None, words: str) -> None:
    assert describe_status(status) == words


def test_a_process_that_holds_the_connection_of_a_rank_that_has_ended_is_not_waited_for(scene: Scene) -> None:
    scene.begin()
    scene.rank.send(Returned(b"value"))
    scene.watchdog.send(ProcessEnded(0))
    scene.watchdog.close()
    # Neither `scene.rank` nor the pipes of its output end.
    deadline = time.monotonic() + 30
    while scene.thread.is_alive() and time.monotonic() < deadline:
        scene.now += 1
        time.sleep(0.05)
    assert scene.told() == Done()
    assert (scene.result().kind, scene.result().blob) == (OK, b"value")


class Ascii:
    """Standard output of an executor without a locale, in a process of its own it would be `LC_ALL=C`."""

    encoding = "ascii"

    def __init__(self, broken: bool) -> None:
        self.broken = broken
        self.written: list[str] = []

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        self.written.append(text.encode("ascii").decode())
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


@pytest.mark.parametrize("broken", [False, True])
def test_output_that_cannot_be_written_does_not_stop_the_rank(
    broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Ascii(broken)
    monkeypatch.setattr("sys.stdout", stream)
    scene = Scene(str(tmp_path), verbosity="log_callback_only")
    scene.begin()
    for _ in range(1000):
        # More than a pipe holds.
        os.write(scene.stdout, ("é" * 100 + "\n").encode())
    scene.rank.send(Returned(b"value"))
    scene.end()
    assert scene.told() == Done()
    outcome = scene.result()
    assert outcome.log_tail.split("\n") == ["é" * 100] * 100
    assert broken or "".join(stream.written).splitlines() == ["[1] " + r"\xe9" * 100] * 1000
