"""What a task does while its rank runs: hear rank, watchdog and coordinator, and turn the end into an Outcome."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sparkdl.cluster.job import OK, RANK_LOST, TIMED_OUT, USER_ERROR, Job, Outcome
from sparkdl.cluster.messages import (
    Abort,
    Done,
    EventRecord,
    Failed,
    FailureOrder,
    Go,
    Heartbeat,
    Interrupted,
    Left,
    Message,
    MessageError,
    ProcessEnded,
    Raised,
    Ready,
    Returned,
    RunFunction,
)
from sparkdl.cluster.rank.process import RankProcess
from sparkdl.cluster.rpc import Channel
from sparkdl.cluster.task.event_stream import EventStream
from sparkdl.cluster.task.log_relay import LogTail, Relay
from sparkdl.cluster.task.topology import Topology
from sparkdl.comm.registry import spec_of
from sparkdl.events import RankOutput, to_record
from sparkdl.report.logs import print_line

ABORT_GRACE = 10.0
"""Seconds that a rank has to end by itself after another one has failed."""
_ANSWER = 2.0
"""Seconds in which it has to show that its main thread has heard so: native code may hold it for ever."""
_EXIT_GRACE = 10.0
_DRAIN = 5.0
"""Seconds after the watchdog's end in which the rank's connection ends too, and what was on it is heard."""


@dataclass(frozen=True)
class End:
    """How a rank ended, before the coordinator has said in which order among the failures."""

    kind: str
    message: str = ""
    traceback: str = ""
    secondary: bool = False
    blob: bytes = b""


class Supervisor:
    """Supervises one rank; `run` is called once.

    Parameters
    ----------
    job : Job
    place : Topology
    process : RankProcess
        Started already; closed by the caller.
    coordinator : Channel
        The control connection to the coordinator.
    output : EventStream
        The output connection to the coordinator.
    work : RunFunction
        The message that starts the function on the rank.
    started : float
        What `clock` said at the start of the task, from which `start_timeout` counts.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        job: Job,
        topology: Topology,
        process: RankProcess,
        coordinator: Channel,
        output: EventStream,
        work: RunFunction,
        started: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._topology = topology
        self._process = process
        self._coordinator = coordinator
        self._output = output
        self._work = work
        self._started = started
        self._clock = clock
        self._inbox: queue.Queue[tuple[str, Message | None]] = queue.Queue()
        self._tail = LogTail()
        self._aborted: str | None = None
        self._kill_at: float | None = None
        self._killed_because: End | None = None
        self._result: End | None = None
        self._ready = self._go_at = 0.0
        self._exit_by: float | None = None
        self._rank_seen = self._coordinator_seen = self._clock()
        self._failure_order: FailureOrder | None = None
        self._coordinator_gone = False
        self._next_heartbeat = self._drained_by = 0.0

    def run(self) -> Outcome:
        """Supervise the rank to its end and return what to say of it. Raises nothing for what the rank did."""
        stdout, stderr = self._process.take_output()
        relays = [
            Relay(stdout, lambda line: self._on_line(line, "stdout"), lambda state: self._pass_on(state, "stdout")),
            Relay(stderr, lambda line: self._on_line(line, "stderr"), lambda state: self._pass_on(state, "stderr")),
        ]
        for name, channel in (
            ("rank", self._process.control),
            ("watchdog", self._process.lifeline),
            ("coordinator", self._coordinator),
        ):
            threading.Thread(target=self._listen, args=(name, channel), name=f"sparkdl-{name}", daemon=True).start()
        end = self._wait_for_end()
        ended = self._clock()
        for relay in relays:
            relay.join(2)
        order = self._report(end)
        return Outcome(
            kind=end.kind,
            rank=self._topology.rank,
            host=self._topology.host,
            message=end.message,
            traceback=end.traceback,
            order=order.order,
            secondary=order.secondary,
            log_tail=self._tail.text(),
            seconds={
                "start": (self._go_at or ended) - self._started,
                "run": ended - self._go_at if self._go_at else 0.0,
            },
            blob=end.blob,
        )

    def _listen(self, name: str, channel: Channel) -> None:
        # A stream that holds anything else than messages is one that has ended.
        with contextlib.suppress(MessageError):
            while (message := channel.recv()) is not None:
                if isinstance(message, EventRecord):
                    self._rank_seen = self._clock()
                    self._output.put(message.record, wait=False)
                else:
                    self._inbox.put((name, message))
        self._inbox.put((name, None))

    def _on_line(self, line: str, stream: str) -> None:
        self._tail.add(line)
        self._pass_on(line, stream)

    def _pass_on(self, line: str, stream: str) -> None:
        if self._job.verbosity == "all":
            self._output.put(to_record(RankOutput(self._topology.rank, line, stream)))
        elif not self._job.local_master:
            # The executor's own log has what the driver is not shown.
            print_line(f"[{self._topology.rank}] {line}")

    def _wait_for_end(self) -> End:
        watchdog_gone = False
        rank_gone = False
        status: int | None = None
        while not (watchdog_gone and (rank_gone or self._is_held_open())):
            try:
                name, message = self._inbox.get(timeout=self._pause())
            except queue.Empty:
                self._check_limits()
                continue
            if name == "coordinator":
                self._on_coordinator(message)
            elif name == "watchdog":
                if message is None and not watchdog_gone:
                    watchdog_gone, self._drained_by = True, self._clock() + _DRAIN
                status = message.status if isinstance(message, ProcessEnded) else status
            elif message is None:
                rank_gone = True
            else:
                self._on_rank(message)
            self._check_limits()
        return self._judge(status)

    def _is_held_open(self) -> bool:
        """Whether a child of the rank's that nobody could end has its connection, so that no end will come."""
        return self._clock() >= self._drained_by

    def _pause(self) -> float:
        return min(0.5, self._job.heartbeat_timeout / 4)

    def _on_rank(self, message: Message) -> None:
        self._rank_seen = self._clock()
        if isinstance(message, Ready):
            self._ready = self._clock()
            self._coordinator.try_send(message)
        elif isinstance(message, Interrupted) and self._aborted is not None:
            self._kill_at = self._clock() + ABORT_GRACE
        elif isinstance(message, Returned):
            self._result = End(OK, blob=message.value)
        elif isinstance(message, Raised):
            self._result = End(USER_ERROR, message.sentence, message.traceback, message.secondary, message.error)
        elif isinstance(message, Left):
            self._result = End(RANK_LOST, message.sentence, secondary=message.secondary)
        if self._result is not None and self._exit_by is None:
            self._exit_by = self._clock() + _EXIT_GRACE
            # The others shall hear of a failure before they feel it.
            self._tell_coordinator(self._result)

    def _tell_coordinator(self, end: End) -> None:
        if end.kind == OK:
            return
        sentence = f"rank {self._topology.rank} on host {self._topology.host}: {end.message}"
        self._coordinator.try_send(Failed(end.secondary, sentence))

    def _on_coordinator(self, message: Message | None) -> None:
        self._coordinator_seen = self._clock()
        if message is None:
            self._coordinator_gone = True
            if self._failure_order is None and self._result is None:
                self._abort("the coordinator in the task of rank 0 is gone")
        elif isinstance(message, Go):
            self._go_at = self._clock()
            self._process.control.try_send(self._work)
        elif isinstance(message, Abort):
            self._abort(message.reason)
        elif isinstance(message, FailureOrder):
            self._failure_order = message

    def _abort(self, reason: str) -> None:
        if self._aborted is not None:
            return
        self._aborted = reason
        # Before it runs the user's code there is nothing to wait for.
        self._kill_at = self._clock() + (_ANSWER if self._go_at else 0.0)
        self._process.control.try_send(Abort(reason))

    def _check_limits(self) -> None:
        now = self._clock()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + min(5.0, self._job.heartbeat_timeout / 4)
            self._coordinator.try_send(Heartbeat())
        if self._kill_at is not None and now >= self._kill_at:
            self._process.kill()
        if self._exit_by is not None and now >= self._exit_by:
            self._process.kill()
        if self._killed_because is None and self._aborted is None and self._result is None:
            self._killed_because = self._too_late(now)
            if self._killed_because is not None:
                self._tell_coordinator(self._killed_because)
                self._process.kill()

    def _too_late(self, now: float) -> End | None:
        job, topology = self._job, self._topology
        if not self._ready and now - self._started > job.start_timeout:
            where = f"rank {topology.rank} on host {topology.host}"
            return End(
                TIMED_OUT, f"{where} was not ready within {job.start_timeout:g} s: torch was still being imported"
            )
        if now - self._rank_seen > job.heartbeat_timeout:
            return End(RANK_LOST, f"gave no heartbeat for {job.heartbeat_timeout:g} s")
        if now - self._coordinator_seen > job.heartbeat_timeout:
            return End(RANK_LOST, f"heard nothing of rank 0's task for {job.heartbeat_timeout:g} s")
        return None

    def _judge(self, status: int | None) -> End:
        if self._killed_because is not None:
            return self._killed_because
        if self._result is not None:
            return self._result
        if self._aborted is not None:
            end = End(RANK_LOST, f"ended because of another failure: {self._aborted}", secondary=True)
        else:
            weak = status == -signal.SIGABRT and spec_of(self._job.backend).aborts
            end = End(RANK_LOST, describe_status(status), secondary=weak)
        self._tell_coordinator(end)
        return end

    def _report(self, end: End) -> FailureOrder:
        if end.kind == OK:
            self._coordinator.try_send(Done())
            return FailureOrder(-1, secondary=False)
        deadline = self._clock() + 10
        while self._failure_order is None and not self._coordinator_gone and self._clock() < deadline:
            try:
                name, message = self._inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            if name == "coordinator":
                self._on_coordinator(message)
        # Without an answer it stands behind all that have one.
        return self._failure_order or FailureOrder(self._topology.size + self._topology.rank, secondary=True)


def describe_status(status: int | None) -> str:
    """Return how a process ended that said nothing, in words."""
    if status is None:
        return "disappeared together with its watchdog"
    if status >= 0:
        return f"ended with exit code {status} before its function returned"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (often the out-of-memory killer)" if status == -signal.SIGKILL else ""
    return f"was ended by {name}{hint}"
