"""The ranks' output on the driver, line by line, with the rank in front."""

from __future__ import annotations

import sys
from typing import TextIO

from sparkdl.events import Event, Listener, RankOutput, UserMessage


class LogPrinter(Listener):
    """Prints what ranks write and what they send by `log_to_driver`.

    Parameters
    ----------
    stream : TextIO, optional
        Where to; standard output as it is when the line comes (a notebook replaces it), if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def on_event(self, event: Event) -> None:
        if isinstance(event, RankOutput):
            self._print(event.rank, event.line)
        elif isinstance(event, UserMessage):
            for line in event.text.splitlines() or [""]:
                self._print(event.rank, line)

    def _print(self, rank: int, line: str) -> None:
        print_line(f"[{rank}] {line}", self._stream)


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Write a line to standard output, or to a stream; what its encoding has no place for is written as escapes."""
    stream = stream or sys.stdout
    # A process without standard output has None there.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
