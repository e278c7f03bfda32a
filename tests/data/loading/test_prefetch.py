"""A producer in a thread: order, bound, errors, leaving, and a limit for waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from sparkdl.data.loading.prefetch import Background
from sparkdl.errors import DataError


def test_items_come_in_order_and_no_more_than_the_bound_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    background = Background(source(), 3, 30)
    assert next(background) == 0
    time.sleep(0.3)
    # One is taken, three wait, one is in the producer's hand.
    assert len(made) <= 5
    assert list(background) == list(range(1, 20))
    assert list(background) == []


def test_what_the_producer_raises_comes_after_what_it_made() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    background = Background(source(), 2, 30)
    assert next(background) == 1
    with pytest.raises(KeyError, match="broken"):
        next(background)
    with pytest.raises(StopIteration):
        next(background)


def test_leaving_closes_the_source_in_its_own_thread() -> None:
    closed_by: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed_by.append(threading.current_thread())

    background = Background(source(), 1, 30)
    next(background)
    background.close()
    background.close()
    assert [thread.name for thread in closed_by] == ["sparkdl-feed"]
    assert not closed_by[0].is_alive()


def test_waiting_has_a_limit_and_is_counted() -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        release.wait(30)
        yield 1

    background = Background(source(), 1, 0.3)
    with pytest.raises(DataError, match="no batch came"):
        next(background)
    assert background.wait_seconds >= 0.3
    release.set()
    background.close()
