"""The coordinator in task 0: who is ready, who lives, who failed first; and the event stream to the driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

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
    Message,
    Ready,
)
from sparkdl.cluster.rpc import Channel, Server
from sparkdl.events import PhaseStarted, to_record

CAUSE_GRACE = 5.0
"""Seconds that a cause may arrive later than its secondary failures: a killed process is seen by its peers first."""
_VOICELESS = 5.0


class Coordinator:
    """Meeting point of the supervisors of all ranks. Opens only to the job's secret.

    Each supervisor has two connections, so that a driver that is slow to take the output delays no heartbeat:
    one for control, one for events (`JoinControl`, `JoinOutput`).

    Parameters
    ----------
    size : int
        Number of ranks.
    secret : str
    host : str
        Address to listen on.
    start_timeout, heartbeat_timeout : float
        Seconds.
    forward : callable of (dict) -> None
        Takes an event record on its way to the driver; may block.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        size: int,
        secret: str,
        host: str,
        *,
        start_timeout: float,
        heartbeat_timeout: float,
        forward: Callable[[Mapping[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._size = size
        self._forward = forward
        self._heartbeat_timeout = heartbeat_timeout
        self._start_deadline = self._clock() + start_timeout
        self._start_timeout = start_timeout
        self._change = threading.Condition()
        self._controls: dict[int, Channel] = {}
        self._ready: set[int] = set()
        self._ended: set[int] = set()
        self._outputs: set[Channel] = set()
        self._failures = 0
        self._last_seen: dict[int, float] = {}
        self._suspect: tuple[float, str] | None = None
        self._abort_reason: str | None = None
        self._closed = False
        self._say("start")
        self._server = Server(host, secret, self._serve)
        self._monitor = threading.Thread(target=self._watch, name="sparkdl-coordinator", daemon=True)
        self._monitor.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    def wait_ended(self, patience: float) -> None:
        """Wait until every rank has ended, or is given up, and for at most `patience` seconds for its output."""
        with self._change:
            self._change.wait_for(lambda: len(self._ended) == self._size or self._closed)
            self._change.wait_for(lambda: not self._outputs, patience)

    def close(self) -> None:
        """Close every connection and the port."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._server.close()
        self._monitor.join(5)

    def _serve(self, channel: Channel) -> None:
        joining = channel.recv()
        if isinstance(joining, JoinOutput):
            self._serve_output(channel)
        elif isinstance(joining, JoinControl):
            channel.limit_sending(self._heartbeat_timeout)
            self._serve_control(joining.rank, channel)

    def _serve_output(self, channel: Channel) -> None:
        with self._change:
            self._outputs.add(channel)
        try:
            while isinstance(event := channel.recv(), EventRecord):
                self._forward(event.record)
        finally:
            with self._change:
                self._outputs.discard(channel)
                self._change.notify_all()

    def _serve_control(self, rank: int, channel: Channel) -> None:
        with self._change:
            self._controls[rank] = channel
            self._last_seen[rank] = self._clock()
            reason = self._abort_reason
        # A rank may arrive after the others have been told to end.
        if reason is not None:
            channel.try_send(Abort(reason))
        while (message := channel.recv()) is not None:
            with self._change:
                self._last_seen[rank] = self._clock()
            self._on_message(rank, channel, message)
        with self._change:
            lost = rank not in self._ended and not self._closed
            self._ended.add(rank)
            self._change.notify_all()
        if lost:
            self._abort(f"the task of rank {rank} is gone")

    def _on_message(self, rank: int, channel: Channel, message: Message) -> None:
        if isinstance(message, Ready):
            self._on_ready(rank)
        elif isinstance(message, Failed):
            self._on_failed(rank, channel, message)
        elif isinstance(message, Done):
            self._end(rank)

    def _on_ready(self, rank: int) -> None:
        with self._change:
            self._ready.add(rank)
            all_ready = len(self._ready) == self._size
            controls = list(self._controls.values())
        if all_ready:
            for channel in controls:
                channel.try_send(Go())
            self._say("train")

    def _say(self, phase: str) -> None:
        self._forward(to_record(PhaseStarted(phase)))

    def _on_failed(self, rank: int, channel: Channel, failure: Failed) -> None:
        with self._change:
            # What fails after the others have been told to end follows from that.
            answer = FailureOrder(self._failures, failure.secondary or self._abort_reason is not None)
            self._failures += 1
            if failure.secondary and self._suspect is None:
                self._suspect = (self._clock(), failure.sentence)
        channel.try_send(answer)
        self._end(rank)
        if not failure.secondary:
            self._abort(failure.sentence)

    def _end(self, rank: int) -> None:
        with self._change:
            self._ended.add(rank)
            self._change.notify_all()

    def _abort(self, reason: str) -> None:
        with self._change:
            if self._abort_reason is not None:
                return
            self._abort_reason = reason
            controls = [channel for rank, channel in self._controls.items() if rank not in self._ended]
        for channel in controls:
            channel.try_send(Abort(reason))

    def _watch(self) -> None:
        pause = min(0.5, self._heartbeat_timeout / 4)
        next_heartbeat = 0.0
        while True:
            with self._change:
                if self._change.wait_for(lambda: self._closed, pause):
                    return
            now = self._clock()
            if now >= next_heartbeat:
                next_heartbeat = now + min(5.0, self._heartbeat_timeout / 4)
                self._send_heartbeats()
            for rank, reason in self._silent(now):
                self._end(rank)
                self._abort(reason)
            with self._change:
                suspect = self._suspect
            if suspect is not None and now - suspect[0] > CAUSE_GRACE:
                self._abort(suspect[1])

    def _send_heartbeats(self) -> None:
        with self._change:
            controls = [channel for rank, channel in self._controls.items() if rank not in self._ended]
        for channel in controls:
            channel.try_send(Heartbeat())

    def _silent(self, now: float) -> list[tuple[int, str]]:
        """Return the ranks of which nothing more is expected, with the reason."""
        found = []
        with self._change:
            # The supervisors watch the same deadline and know more; this is for those that have no voice.
            if now > self._start_deadline + _VOICELESS:
                absent = sorted(set(range(self._size)) - set(self._controls) - self._ended)
                found += [(rank, f"rank {rank} did not report within {self._start_timeout:g} s") for rank in absent]
            for rank, seen in self._last_seen.items():
                if rank not in self._ended and now - seen > self._heartbeat_timeout:
                    reason = f"the task of rank {rank} gave no heartbeat for {self._heartbeat_timeout:g} s"
                    found.append((rank, reason))
        return found
