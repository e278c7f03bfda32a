"""From a pipe to whole lines, however long, and the last of them for the outcome."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable

_TAIL_LINES = 100
_TAIL_BYTES = 256 << 10
_CHUNK = 1 << 16


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
    """Reads a pipe to its end in a thread of its own.

    Parameters
    ----------
    descriptor : int
        Reading end of the pipe; closed at its end.
    on_line : callable of (str) -> None
        Hears every line without its newline; a last line without one too.
    """

    def __init__(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._on_line = on_line
        self._thread = threading.Thread(target=self._run, name="sparkdl-relay", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the end of the pipe, not longer than `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        parts: list[bytes] = []
        with contextlib.suppress(OSError):
            while chunk := os.read(self._descriptor, _CHUNK):
                *whole, rest = chunk.split(b"\n")
                for line in whole:
                    self._say(b"".join((*parts, line)))
                    parts.clear()
                if rest:
                    parts.append(rest)
        if parts:
            self._say(b"".join(parts))
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _say(self, line: bytes) -> None:
        self._on_line(line.decode("utf-8", errors="replace"))
