from __future__ import annotations

import threading
from collections.abc import Sequence

from sparkdl.tracking.outbox import Outbox, RefusedError

PAUSES = (0.01, 0.02)


class Store:
    """Takes what it is sent, but for a while nothing, and never odd numbers if it is strict."""

    def __init__(self, failures: int = 0, strict: bool = False) -> None:
        self.failures = failures
        self.strict = strict
        self.taken: list[int] = []
        self.tried = threading.Event()

    def send(self, items: Sequence[int]) -> None:
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("gone")
        if self.strict and any(item % 2 for item in items):
            raise RefusedError("odd")
        self.taken += items


def test_what_was_missed_is_sent_when_the_store_is_back_in_order() -> None:
    store = Store(failures=5)
    outbox = Outbox(store.send, pauses=PAUSES)
    for number in range(1200):
        outbox.put([number])
    assert outbox.close(30) == 0
    assert store.taken == list(range(1200))
    assert (outbox.lost, str(outbox.problem)) == (0, "gone")


def test_what_a_store_refuses_keeps_nothing_else_away() -> None:
    store = Store(strict=True)
    outbox = Outbox(store.send, pauses=PAUSES)
    outbox.put(list(range(10)))
    assert outbox.close(30) == 0
    assert (store.taken, outbox.lost, str(outbox.problem)) == ([0, 2, 4, 6, 8], 5, "odd")


def test_a_store_that_stays_away_takes_neither_memory_nor_time() -> None:
    store = Store(failures=10**9)
    outbox = Outbox(store.send, most=100, pauses=(1000, 1000))
    outbox.put([0])
    assert store.tried.wait(30)
    for number in range(1, 10_000):
        outbox.put([number])
    waiting = outbox.close(0.2)
    assert waiting + outbox.lost == 10_000
    assert waiting <= 101


def test_it_goes_on_in_the_background_for_a_while() -> None:
    back = threading.Event()
    taken: list[int] = []

    def send(items: Sequence[int]) -> None:
        if not back.wait(30):
            raise ConnectionError
        taken.extend(items)

    outbox = Outbox(send, pauses=PAUSES)
    outbox.put([1, 2])
    assert outbox.close(0.05, afterwards=60) == 2
    back.set()
    assert outbox.close(30) == 0
    assert taken == [1, 2]


def test_nothing_to_send_starts_no_thread() -> None:
    before = threading.active_count()
    assert Outbox(Store().send).close(30) == 0
    assert threading.active_count() == before
