"""The driver's ear: takes the events that task 0 sends while the ranks run."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping
from typing import Any

from sparkdl.cluster.wire import Channel, Server


class EventServer:
    """Listens for the hub of one job and puts its event records into a queue, in order.

    A queue that is full makes the hub wait, and the writing ranks in the end, instead of filling the driver's memory.

    Parameters
    ----------
    host : str
        Address to listen on.
    secret : str
        Of the job.
    inbox : queue
    """

    def __init__(self, host: str, secret: str, inbox: queue.Queue[Mapping[str, Any] | None]) -> None:
        self._inbox = inbox
        self._closing = threading.Event()
        self._connections = 0
        self._lock = threading.Lock()
        self._server = Server(host, secret, self._serve)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def idle(self) -> bool:
        """Whether no hub is connected."""
        with self._lock:
            return self._connections == 0

    def __enter__(self) -> EventServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()

    def _serve(self, channel: Channel) -> None:
        with self._lock:
            self._connections += 1
        try:
            channel.recv()
            while (received := channel.recv()) is not None:
                self._put(received[0])
        finally:
            with self._lock:
                self._connections -= 1

    def _put(self, record: Mapping[str, Any]) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._inbox.put(record, timeout=0.5)
                return
