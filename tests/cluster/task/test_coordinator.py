from __future__ import annotations

import time

import pytest

from sparkdl.cluster.messages import (
    Abort,
    Done,
    EventRecord,
    Failed,
    FailureOrder,
    Go,
    Heartbeat,
    JoinControl,
    JoinOutput,
    Ready,
)
from sparkdl.cluster.rpc import connect
from sparkdl.cluster.task import coordinator as coordinator_module
from sparkdl.cluster.task.coordinator import Coordinator

pytestmark = pytest.mark.timeout(60)


class Rank:
    """A supervisor's side of the control connection."""

    def __init__(self, coordinator: Coordinator, rank: int) -> None:
        self.channel = connect(("127.0.0.1", coordinator.port), "s", 5)
        self.channel.send(JoinControl(rank))

    def say(self, message):
        self.channel.send(message)

    def hear(self):
        """The next message that is no heartbeat; None at the end."""
        while isinstance(received := self.channel.recv(), Heartbeat):
            pass
        return received


@pytest.fixture
def make():
    coordinators = []

    def make(size, *, start_timeout=60.0, heartbeat_timeout=60.0):
        records = []
        coordinator = Coordinator(
            size,
            "s",
            "127.0.0.1",
            start_timeout=start_timeout,
            heartbeat_timeout=heartbeat_timeout,
            forward=records.append,
        )
        coordinators.append(coordinator)
        return coordinator, [Rank(coordinator, rank) for rank in range(size)], records

    yield make
    for coordinator in coordinators:
        coordinator.close()


def test_go_comes_when_the_last_rank_is_ready(make):
    _, ranks, records = make(2)
    ranks[0].say(Ready())
    ranks[1].say(Ready())
    assert [rank.hear() for rank in ranks] == [Go()] * 2
    time.sleep(0.1)
    assert [record["phase"] for record in records] == ["start", "train"]


def test_causes_are_numbered_before_secondary_failures_that_arrived_first(make):
    _, ranks, _ = make(3)
    ranks[0].say(Failed(True, "lost its peers"))
    assert ranks[0].hear() == FailureOrder(0, secondary=True)
    ranks[1].say(Failed(False, "rank 1: ValueError"))
    assert ranks[1].hear() == FailureOrder(1, secondary=False)
    assert ranks[2].hear() == Abort("rank 1: ValueError")
    ranks[2].say(Failed(False, "later"))
    assert ranks[2].hear() == FailureOrder(2, secondary=True)


def test_a_rank_that_comes_after_the_end_of_the_others_is_told(make):
    coordinator, ranks, _ = make(3)
    ranks[1].channel.close()
    assert ranks[0].hear() == Abort("the task of rank 1 is gone")
    assert Rank(coordinator, 2).hear() == Abort("the task of rank 1 is gone")


def test_a_secondary_alone_ends_the_others_after_the_grace(make, monkeypatch):
    monkeypatch.setattr(coordinator_module, "CAUSE_GRACE", 0.3)
    _, ranks, _ = make(2)
    begun = time.monotonic()
    ranks[0].say(Failed(True, "lost its peers"))
    assert ranks[1].hear() == Abort("lost its peers")
    assert time.monotonic() - begun >= 0.3


def test_a_task_that_disappears_ends_the_others(make):
    coordinator, ranks, _ = make(2)
    ranks[0].say(Heartbeat())
    time.sleep(0.2)
    ranks[1].channel.close()
    assert ranks[0].hear() == Abort("the task of rank 1 is gone")
    ranks[0].say(Done())
    coordinator.wait_ended(1)


def test_a_silent_task_is_given_up_after_the_heartbeat_timeout(make):
    coordinator, ranks, _ = make(2, heartbeat_timeout=1.0)
    for _ in range(6):
        ranks[0].say(Heartbeat())
        time.sleep(0.25)
    assert ranks[0].hear() == Abort("the task of rank 1 gave no heartbeat for 1 s")
    ranks[0].say(Done())
    begun = time.monotonic()
    coordinator.wait_ended(5)
    assert time.monotonic() - begun < 5


def test_a_task_that_never_reports_is_given_up_after_the_start_timeout(monkeypatch):
    monkeypatch.setattr(coordinator_module, "_VOICELESS", 0.1)
    coordinator = Coordinator(2, "s", "127.0.0.1", start_timeout=0.3, heartbeat_timeout=60, forward=lambda record: None)
    present = Rank(coordinator, 0)
    assert present.hear() == Abort("rank 1 did not report within 0.3 s")
    coordinator.close()


def test_events_are_forwarded_in_order_and_waited_for(make):
    coordinator, ranks, records = make(1)
    output = connect(("127.0.0.1", coordinator.port), "s", 5)
    output.send(JoinOutput(0))
    for number in range(500):
        output.send(EventRecord({"event": "RankOutput", "line": str(number)}))
    ranks[0].say(Done())
    output.close()
    coordinator.wait_ended(10)
    assert [r["line"] for r in records if r["event"] == "RankOutput"] == [str(number) for number in range(500)]
