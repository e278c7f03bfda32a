"""Connections that have not shown a job's secret yet: few at a time, and each for a short time only."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

HANDSHAKE_SECONDS = 10.0
"""From the start of a connection until it has shown the secret, all together."""
STRANGERS = 64
"""Connections that may be at that at the same time."""
PAUSE = 0.05
"""Seconds until the next try where a connection cannot be taken: no descriptor, no thread is left."""


class Admission:
    """The connections of one server that have shown nothing yet.

    Who comes when there are `limit` of them makes the oldest go: a peer shows the secret within a round trip, and tries
    again if it was the one to go, whereas those that are silent would keep all places to the end of their time.

    Parameters
    ----------
    limit : int
    seconds : float
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        limit: int = STRANGERS,
        seconds: float = HANDSHAKE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}

    def enter(self, sock: socket.socket) -> float:
        """Note a new connection, end the oldest one if there are too many; return its deadline by the clock."""
        deadline = self._clock() + self._seconds
        with self._lock:
            if len(self._deadlines) >= self._limit:
                self._end(next(iter(self._deadlines)))
            self._deadlines[sock] = deadline
        return deadline

    def leave(self, sock: socket.socket) -> bool:
        """Forget a connection, which has shown the secret or is over; return False if it had to go before."""
        with self._lock:
            return self._deadlines.pop(sock, None) is not None

    def expire(self) -> None:
        """End those that are over their time."""
        now = self._clock()
        with self._lock:
            for sock in [each for each, deadline in self._deadlines.items() if deadline <= now]:
                self._end(sock)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for sock in list(self._deadlines):
                self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        del self._deadlines[sock]
        # Who reads from it, in another thread, closes it.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
