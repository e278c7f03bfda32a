"""From a pipe to whole lines, and the last of them for the outcome."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger(__name__)

_TAIL_LINES = 100
_TAIL_BYTES = 256 << 10
_CHUNK = 1 << 16
_LINE_BYTES = 16 << 20


class LogTail:
    """The last lines that a rank wrote to both streams: at most 100, and 256 KiB."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Add one line; it may be longer than the whole tail, which then keeps its end."""
        line = line[-_TAIL_BYTES:]
        with self._lock:
            self._lines.append(line)
            self._size += len(line)
            while len(self._lines) > _TAIL_LINES or self._size > _TAIL_BYTES:
                self._size -= len(self._lines.popleft())

    def text(self) -> str:
        """Return the lines."""
        with self._lock:
            return "\n".join(self._lines)


class Relay:
    """Reads a pipe to its end in a thread of its own, whatever the callbacks make of what it says.

    A progress bar begins its line again (a carriage return) for each of its states: they are heard once a second at
    most while they come, and the last one is the line.

    Parameters
    ----------
    descriptor : int
        Reading end of the pipe; closed at its end.
    on_line : callable of (str) -> None
        Hears every line without its newline; a last line without one too, and one above 16 MiB in parts.
    on_update : callable of (str) -> None, optional
        Hears the states of a line that goes on.
    interval : float
        Seconds between two of these.
    """

    def __init__(
        self,
        descriptor: int,
        on_line: Callable[[str], None],
        on_update: Callable[[str], None] | None = None,
        interval: float = 1.0,
    ) -> None:
        self._descriptor = descriptor
        self._on_line = on_line
        self._on_update = on_update
        self._interval = interval
        self._parts: list[bytes] = []
        self._size = 0
        self._state = b""
        self._is_bar = self._is_new = self._failed = False
        self._due = 0.0
        self._thread = threading.Thread(target=self._run, name="sparkdl-relay", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the end of the pipe, not longer than `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        with contextlib.suppress(OSError):
            while True:
                # A state that is not due yet is heard when it is, though nothing follows.
                if self._is_new and not poll.poll(max(0.0, 1000 * (self._due - time.monotonic()))):
                    self._update()
                    continue
                chunk = os.read(self._descriptor, _CHUNK)
                if not chunk:
                    break
                self._take(chunk)
                if self._is_new and time.monotonic() >= self._due:
                    self._update()
        if self._parts or self._is_bar:
            self._end_line()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _take(self, chunk: bytes) -> None:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            self._add(line)
            self._end_line()
        if rest:
            self._add(rest)
        if self._size > _LINE_BYTES:
            self._end_line()

    def _add(self, part: bytes) -> None:
        *before, part = part.split(b"\r")
        if before:
            states = [b"".join((*self._parts, before[0])), *before[1:]]
            self._state = next((state for state in reversed(states) if state.strip()), self._state)
            self._parts, self._size = [], 0
            if not self._is_bar:
                self._is_bar, self._due = True, max(self._due, time.monotonic() + self._interval)
        self._parts.append(part)
        self._size += len(part)
        self._is_new = self._is_bar

    def _end_line(self) -> None:
        line = self._shown()
        self._parts, self._size, self._state = [], 0, b""
        self._is_bar = self._is_new = False
        self._say(self._on_line, line)

    def _update(self) -> None:
        self._is_new, self._due = False, time.monotonic() + self._interval
        state = self._shown()
        if state.strip() and self._on_update is not None:
            self._say(self._on_update, state)

    def _shown(self) -> bytes:
        """Return what a terminal would show of the line; a carriage return before its end changes nothing."""
        line = b"".join(self._parts)
        return line if line.strip() or not self._state else self._state

    def _say(self, hear: Callable[[str], None], line: bytes) -> None:
        # Without a reader the pipe fills, and its writer stands still.
        try:
            hear(line.decode("utf-8", errors="replace"))
        except Exception as error:
            if not self._failed:
                self._failed = True
                _log.warning("what a rank wrote was not passed on: %r", error)
