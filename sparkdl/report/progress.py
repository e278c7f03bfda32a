"""What a fit shows on the driver while it runs: a progress bar, plain lines where there is no terminal, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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
from sparkdl.report.notebook import NotebookBar, in_notebook
from sparkdl.report.pace import Pace
from sparkdl.report.words import done_before, say, say_end, say_epoch, say_figures, say_start, say_step, say_time

LINE_INTERVAL = 10.0
"""Seconds between two plain lines inside an epoch."""


def progress_listener(
    verbose: int,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    title: str = "",
    leave: bool = True,
) -> Listener:
    """Return the listener that shows a fit to its user.

    Parameters
    ----------
    verbose : int
        The Param `verbose`. 0: nothing. 1: a progress bar on a terminal and in a notebook, else a plain line at most
        every 10 seconds and at the end of each epoch. 2: a line for each epoch.
    stream : text file, optional
        Where to write; standard error by default, as tqdm does.
    clock : callable, optional
        Seconds that only grow.
    title : str
        Which of several fits it is.
    leave : bool
        Whether the bar stays when the fit is done; that of one that failed always does.
    """
    if verbose <= 0:
        return Listener()
    target = sys.stderr if stream is None else stream
    if verbose == 1 and in_notebook():
        return NotebookBar(target, title, leave, clock)
    if verbose == 1 and _is_terminal(target):
        return ProgressBar(target, title, leave)
    return PlainLines(target, steps=verbose == 1, clock=clock, title=title)


class PlainLines(Listener):
    """Whole lines, for log files and pipes: phases, the end of each epoch, and, if asked for, steps now and then.

    Parameters
    ----------
    stream : text file
        Where to write.
    steps : bool
        Whether an epoch that takes long is reported on its way.
    clock : callable
        Seconds that only grow.
    title : str
        The first line, if there is one.
    """

    def __init__(
        self, stream: TextIO, steps: bool, clock: Callable[[], float] = time.monotonic, title: str = ""
    ) -> None:
        self._stream = stream
        self._steps = steps
        self._clock = clock
        self._plan: TrainingStarted | None = None
        self._pace = Pace(clock)
        self._last_line = clock()
        self._write(title)

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._on_step(event)
        elif isinstance(event, TrainingStarted):
            self._plan = event
            self._pace = Pace(self._clock)
            self._last_line = self._clock()
            self._write(say_start(event))
        elif isinstance(event, EpochEnded):
            self._last_line = self._clock()
            self._write(say_epoch(event, self._plan))
        elif isinstance(event, FitEnded):
            self._write(say_end(event, self._plan))
        else:
            self._write(say(event))

    def _on_step(self, event: StepEnded) -> None:
        plan, now = self._plan, self._clock()
        if plan is None:
            return
        left = self._pace.seconds_left((event.epoch - 1) * event.steps + event.step, plan.epochs * event.steps)
        if not self._steps or now - self._last_line < LINE_INTERVAL or left is None:
            return
        self._last_line = now
        self._write(
            f"epoch {event.epoch}/{plan.epochs}, step {event.step}/{event.steps}: loss {event.loss:.4g}, "
            f"{event.rows_per_second:,.0f} rows/s, {say_time(left)} left"
        )

    def _write(self, text: str) -> None:
        if text:
            print_line(text, self._stream)


class ProgressBar(Listener):
    """One bar over all steps of a fit, by tqdm; other lines are written above it.

    Parameters
    ----------
    stream : text file
        The terminal.
    title : str
        Stands in front of what the bar says; then the line of the ranks and their device is left out.
    leave : bool
        Whether the bar stays when the fit is done.
    """

    def __init__(self, stream: TextIO, title: str = "", leave: bool = True) -> None:
        self._stream = stream
        self._kind = _bar_class()
        self._title = f"{title}: " if title else ""
        self._leave = leave
        self._bar: Any = None
        self._plan: TrainingStarted | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._on_step(event)
        elif isinstance(event, EpochEnded):
            self._on_epoch(event)
        elif isinstance(event, TrainingStarted):
            self._on_start(event)
        elif isinstance(event, PhaseStarted):
            if self._plan is None and (text := say(event)):
                self._open(bar_format="{desc}", leave=False)
                self._describe(text)
        elif isinstance(event, FitEnded):
            self._on_end(event)
        elif text := say(event):
            self._write(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _on_start(self, event: TrainingStarted) -> None:
        self.close()
        self._plan = event
        if not self._title:
            self._write(say_start(event))
        self._open(
            total=event.epochs * event.steps_per_epoch,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        )
        self._bar.n = self._bar.initial = done_before(event)
        self._describe(f"epoch {min(event.epoch, event.epochs)}/{event.epochs}")

    def _on_step(self, event: StepEnded) -> None:
        if self._bar is None or self._plan is None:
            return
        begin = (event.epoch - 1) * event.steps
        self._bar.set_postfix_str(f"loss {event.loss:.4g}, {event.rows_per_second:,.0f} rows/s", refresh=False)
        self._bar.n = begin + event.step
        self._describe(say_step(event, self._plan))

    def _on_epoch(self, event: EpochEnded) -> None:
        if self._bar is None or self._plan is None:
            return
        self._bar.n = event.epoch * self._plan.steps_per_epoch
        self._bar.set_postfix_str(say_figures(event.logs), refresh=False)
        self._describe(f"epoch {event.epoch}/{self._plan.epochs}")

    def _on_end(self, event: FitEnded) -> None:
        if self._bar is not None and self._plan is not None:
            if event.error is None:
                # A training that was stopped early is complete.
                self._bar.total = self._bar.n
            self._bar.leave = self._leave or event.error is not None
        self.close()
        if (text := say_end(event, self._plan)) and (self._leave or event.error is not None):
            self._write(text)

    def _describe(self, text: str) -> None:
        self._bar.set_description_str(f"{self._title}{text}")

    def _open(self, **settings: Any) -> None:
        self.close()
        self._bar = self._kind(file=self._stream, dynamic_ncols=True, **settings)

    def _write(self, text: str) -> None:
        self._kind.write(text, file=self._stream)


def _bar_class() -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        # tqdm's monitor is a thread that stays for the life of the process.
        monitor_interval = 0

    return Bar


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())
