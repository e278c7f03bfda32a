"""A producer in a thread of its own, a bounded queue, a consumer that may leave at any time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from sparkdl.errors import DataError
from sparkdl.iterators import closed_at_end

T = TypeVar("T")

_JOIN_SECONDS = 30.0


class Background(Generic[T]):
    """Runs an iterator in a thread and hands on what it yields, at most `size` items ahead.

    Parameters
    ----------
    source : iterator
        Run and closed by the thread. What it raises is raised to the consumer.
    size : int
        Items that wait in the queue.
    limit : float
        Seconds after which waiting for one item is an error.
    """

    def __init__(self, source: Iterator[T], size: int, limit: float) -> None:
        self._source = source
        self._limit = limit
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(max(1, size))
        self._stopped = threading.Event()
        self.wait_seconds = 0.0
        self._thread = threading.Thread(target=self._produce, name="sparkdl-feed", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            item = self._wait()
        finally:
            self.wait_seconds += time.perf_counter() - started
        if item is None:
            self.close()
            raise StopIteration
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item[0]

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._stopped.set()
        # Whoever waits for room goes on, sees that it is over, and asks for no more room.
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join(_JOIN_SECONDS)

    def _wait(self) -> tuple[T] | BaseException | None:
        if self._stopped.is_set():
            return None
        try:
            return self._queue.get(timeout=self._limit)
        except queue.Empty:
            self._stopped.set()
            raise DataError(
                f"no batch came within {self._limit:.0f} s: the storage that holds the rows does not answer"
            ) from None

    def _produce(self) -> None:
        outcome: BaseException | None = None
        with closed_at_end(self._source):
            try:
                for item in self._source:
                    if self._stopped.is_set():
                        break
                    self._queue.put((item,))
            # Whatever happens in the thread is the consumer's to see.
            except BaseException as error:
                outcome = error
        if not self._stopped.is_set():
            self._queue.put(outcome)
