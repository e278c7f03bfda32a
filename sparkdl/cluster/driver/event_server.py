"""The event server on the driver: hears what task 0 sends while the ranks run, and lets tasks on its host meet."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping
from typing import Any

from sparkdl.cluster.messages import EventRecord, JoinOutput, Meet
from sparkdl.cluster.rpc import Channel, Server
from sparkdl.cluster.task.barrier_sync import Meeting


class EventServer:
    """Listens for the coordinator of one job and queues its event records, in order; its tasks may meet here.

    A full queue makes the coordinator wait, and the writing ranks in the end, instead of filling the driver's memory.

    Parameters
    ----------
    host : str
        Address to listen on.
    secret : str
        Of the job.
    inbox : queue
    size : int
        Number of tasks.
    """

    def __init__(self, host: str, secret: str, inbox: queue.Queue[Mapping[str, Any] | None], size: int) -> None:
        self._inbox = inbox
        self._meeting = Meeting(size)
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
        """Whether no coordinator is connected."""
        with self._lock:
            return self._connections == 0

    def __enter__(self) -> EventServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._meeting.close()
        self._server.close()

    def _serve(self, channel: Channel) -> None:
        joining = channel.recv()
        if isinstance(joining, Meet):
            self._meeting.serve(channel, joining)
        elif isinstance(joining, JoinOutput):
            self._serve_coordinator(channel)

    def _serve_coordinator(self, channel: Channel) -> None:
        with self._lock:
            self._connections += 1
        try:
            while isinstance(event := channel.recv(), EventRecord):
                self._put(event.record)
        finally:
            with self._lock:
                self._connections -= 1

    def _put(self, record: Mapping[str, Any]) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._inbox.put(record, timeout=0.5)
                return
