"""The progress bar of a notebook: one output, drawn anew in place, so that a saved notebook holds its last state."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any, TextIO

from sparkdl.events import (
    EpochEnded,
    Event,
    FitEnded,
    Listener,
    PhaseStarted,
    StepEnded,
    TrainingStarted,
)
from sparkdl.report.logs import print_line
from sparkdl.report.pace import Pace
from sparkdl.report.words import done_before, say, say_end, say_epoch, say_start, say_step, say_time

_REDRAW = 0.1
"""Seconds between two states that are sent to the browser: short epochs come faster than anybody reads."""
_RUNNING, _DONE, _FAILED = "#1976d2", "#2e7d32", "#c62828"


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class NotebookBar(Listener):
    """A bar over all steps of a fit as HTML, with the same words as plain text for those who show no HTML.

    It needs no ipywidgets: the frontend replaces an output by its id.

    Parameters
    ----------
    stream : text file
        Where lines of ranks and users go.
    title : str
        Which of several fits it is.
    leave : bool
        Whether the output stays when the fit is done.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, stream: TextIO, title: str, leave: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._leave = leave
        self._clock = clock
        self._began, self._drawn = clock(), float("-inf")
        self._output: _Output | None = None
        self._plan: TrainingStarted | None = None
        self._pace = Pace(clock)
        self._head = [title] if title else []
        self._share: float | None = None
        self._time = self._text = ""

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._on_step(event)
        elif isinstance(event, EpochEnded):
            self._on_epoch(event)
        elif isinstance(event, TrainingStarted):
            self._on_start(event)
        elif isinstance(event, FitEnded):
            self._on_end(event)
        elif text := say(event):
            if not isinstance(event, PhaseStarted):
                print_line(text, self._stream)
            elif self._plan is None:
                self._text = text
                self._draw(at_once=True)

    def close(self) -> None:
        if self._output is not None:
            self._output.free()
            self._output = None

    def _on_start(self, event: TrainingStarted) -> None:
        if self._plan is not None:
            # After a restart there may be fewer ranks.
            self._head.pop()
        self._plan, self._pace = event, Pace(self._clock)
        self._head.append(say_start(event))
        self._text = f"epoch {min(event.epoch, event.epochs)}/{event.epochs}"
        self._advance(done_before(event), event)

    def _on_step(self, event: StepEnded) -> None:
        if self._plan is None:
            return
        self._text = f"{say_step(event, self._plan)}: loss {event.loss:.4g}, {event.rows_per_second:,.0f} rows/s"
        self._advance((event.epoch - 1) * event.steps + event.step, self._plan)

    def _on_epoch(self, event: EpochEnded) -> None:
        if self._plan is None:
            return
        self._text = say_epoch(event, self._plan)
        self._advance(event.epoch * self._plan.steps_per_epoch, self._plan)

    def _on_end(self, event: FitEnded) -> None:
        failed = event.error is not None
        if not (failed or self._leave):
            if self._output is not None:
                self._output.clear()
            return
        took = say_time(self._clock() - self._began)
        if self._plan is not None:
            self._time = f"failed after {took}" if failed else f"done in {took}"
            self._share = self._share if failed else 1.0
        elif self._output is None and not failed:
            return
        self._text = "\n".join(line for line in (self._text, say_end(event, self._plan)) if line)
        self._draw(_FAILED if failed else _DONE, at_once=True)

    def _advance(self, done: int, plan: TrainingStarted) -> None:
        total = plan.epochs * plan.steps_per_epoch
        left = self._pace.seconds_left(done, total) if done else None
        self._share = done / total
        self._time = f"{self._share:.0%}, {say_time(self._clock() - self._began)}"
        if left is not None:
            self._time += f", {say_time(left)} left"
        self._draw()

    def _draw(self, colour: str = _RUNNING, at_once: bool = False) -> None:
        if not at_once and self._clock() - self._drawn < _REDRAW:
            return
        self._drawn = self._clock()
        if self._output is None:
            self._output = _Output()
        above, below = self._head, self._text.splitlines()
        bar = [] if self._share is None else [_bar(self._share, self._time, colour)]
        html = [*map(_line, above), *bar, *map(_line, below)]
        text = [*above, *([self._time] if bar else []), *below]
        self._output.show(f"<div>{''.join(html)}</div>", "\n".join(text))


class _Output:
    """A place below a cell; one that was cleared is taken by the cell's next bar, so that a search leaves no holes."""

    _cleared: list[_Output] = []
    _lock = threading.Lock()

    def __init__(self) -> None:
        import IPython

        self._cell = IPython.get_ipython().execution_count
        with self._lock:
            same = [each for each in self._cleared if each._cell == self._cell]
            self._handle: Any = same[0]._handle if same else None
            self._cleared[:] = same[1:]
        self._empty = True

    def show(self, html: str, text: str) -> None:
        from IPython.display import display

        bundle = {"text/html": html, "text/plain": text}
        self._empty = not text
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def clear(self) -> None:
        self.show("", "")

    def free(self) -> None:
        """Let another bar take the place, if it is empty."""
        if self._empty and self._handle is not None:
            with self._lock:
                self._cleared.append(self)


def _line(text: str) -> str:
    return f"<div>{escape(text)}</div>"


def _bar(share: float, text: str, colour: str) -> str:
    track = "display:inline-block;width:24em;max-width:50%;height:0.8em;background-color:rgba(128,128,128,0.3)"
    filled = f"width:{share:.1%};height:100%;background-color:{colour}"
    return f'<div><div style="{track}"><div style="{filled}"></div></div> {escape(text)}</div>'
