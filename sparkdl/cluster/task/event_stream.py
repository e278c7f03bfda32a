"""The event stream and lines: from a rank's task to the coordinator, and from the coordinator to the driver."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from sparkdl.cluster.messages import EventRecord, JoinOutput
from sparkdl.cluster.rpc import Channel, connect

_WAITING = 10_000
_KEPT = 10_000
_PATIENCE = 5.0


class EventStream:
    """Sends event records in order over a channel that may come later, or never.

    What could not be sent is kept, the last 10,000 records of it, for the outcome.

    Parameters
    ----------
    rank : int
        Said to the other side at the beginning.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_WAITING)
        self._kept: deque[Mapping[str, Any]] = deque(maxlen=_KEPT)
        self._channel: Channel | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def connect(self, channel: Channel) -> None:
        """Send everything from now on, and what has waited, over `channel`."""
        self._channel = channel
        channel.try_send(JoinOutput(self._rank))
        self._thread = threading.Thread(target=self._run, args=(channel,), name="sparkdl-output", daemon=True)
        self._thread.start()

    def dial(self, address: tuple[str, int] | None, secret: str, timeout: float) -> None:
        """Connect in the background; if nobody answers within `timeout` seconds, keep everything."""

        def run() -> None:
            channel = None
            if address is not None:
                try:
                    channel = connect(address, secret, timeout)
                except OSError:
                    channel = None
            if channel is not None:
                self._channel = channel
                channel.try_send(JoinOutput(self._rank))
            self._run(channel)

        self._thread = threading.Thread(target=run, name="sparkdl-events", daemon=True)
        self._thread.start()

    def put(self, record: Mapping[str, Any], *, wait: bool = True) -> None:
        """Queue one record; while the other side is slow wait for it, or for 5 s and then leave the record out."""
        while not self._closing.is_set():
            try:
                self._waiting.put(record, timeout=_PATIENCE)
            except queue.Full:
                if not wait:
                    return
            else:
                return

    def close(self, timeout: float) -> tuple[Mapping[str, Any], ...]:
        """Send what waits, at most for `timeout` seconds; return the records that did not get away."""
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            pass
        else:
            if self._thread is not None:
                self._thread.join(timeout)
        self._closing.set()
        if self._channel is not None:
            self._channel.close()
        if self._thread is not None:
            self._thread.join(1)
        while not self._waiting.empty():
            record = self._waiting.get_nowait()
            if record is not None:
                self._kept.append(record)
        return tuple(self._kept)

    def _run(self, channel: Channel | None) -> None:
        while (record := self._waiting.get()) is not None:
            if channel is None or not channel.try_send(EventRecord(record)):
                channel = None
                self._kept.append(record)
