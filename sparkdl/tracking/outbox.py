"""What is on its way to a tracking store: sent in order by a thread of its own, and kept while nobody takes it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_WAITING = 100_000
"""Items that are kept; beyond that the oldest are lost."""
_AT_ONCE = 500
_PAUSES = (1.0, 30.0)
"""Seconds before another try: the first, and the longest."""


class RefusedError(Exception):
    """The store will not take this, whenever it is sent."""


class Outbox(Generic[T]):
    """Sends items in the background, and tries again as long as it takes; training never waits for a store.

    Parameters
    ----------
    send : callable of (sequence of T) -> None
        Takes up to 500 items; raises `RefusedError` where no other try would change it, anything else where one may.
    most : int
        Items that are kept.
    pauses : (float, float)
        Seconds before another try: the first, and the longest.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], None],
        most: int = MOST_WAITING,
        pauses: tuple[float, float] = _PAUSES,
    ) -> None:
        self._send = send
        self._most = most
        self._pauses = pauses
        self._change = threading.Condition()
        self._waiting: deque[T] = deque()
        self._lot: list[T] = []
        self._closed = self._hurry = False
        self._give_up = float("inf")
        self._thread: threading.Thread | None = None
        self.lost = 0
        self.problem: Exception | None = None

    def put(self, items: Sequence[T]) -> None:
        """Add items; returns at once."""
        with self._change:
            self._waiting.extend(items)
            while len(self._waiting) > self._most:
                self._waiting.popleft()
                self.lost += 1
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._run, name="sparkdl-tracking", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def close(self, patience: float, afterwards: float = 0.0) -> int:
        """Wait until all is sent, for at most `patience` seconds; return how many items are not.

        Those are tried for `afterwards` seconds more, in the background.
        """
        with self._change:
            self._closed = self._hurry = True
            self._give_up = time.monotonic() + patience + afterwards
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(patience)
        with self._change:
            return len(self._waiting) + len(self._lot)

    def _run(self) -> None:
        pause = self._pauses[0]
        while self._next_lot():
            try:
                self._deliver()
            except Exception as error:
                self.problem = error
                with self._change:
                    self._change.wait_for(lambda: self._hurry, pause)
                    # A wait is cut short once.
                    self._hurry = False
                pause = min(2 * pause, self._pauses[1])
            else:
                pause = self._pauses[0]

    def _next_lot(self) -> bool:
        """Wait for something to send; return whether there is, and time for it."""
        with self._change:
            self._change.wait_for(lambda: self._lot or self._waiting or self._closed)
            while self._waiting and len(self._lot) < _AT_ONCE:
                self._lot.append(self._waiting.popleft())
            return bool(self._lot) and time.monotonic() < self._give_up

    def _deliver(self) -> None:
        try:
            self._send(self._lot)
            self._lot = []
        except RefusedError:
            # One of them is to blame.
            while self._lot:
                try:
                    self._send(self._lot[:1])
                except RefusedError as error:
                    self.problem = error
                    self.lost += 1
                del self._lot[0]
