"""What a fit shows on the driver while it runs: a progress bar, plain lines where there is no terminal, or nothing."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from sparkdl.report.listener import (
    EpochEnded,
    Event,
    FitEnded,
    Listener,
    Notice,
    PhaseStarted,
    RankOutput,
    StepEnded,
    TrainingStarted,
    UserMessage,
)

LINE_INTERVAL = 10.0
"""Seconds between two plain lines inside an epoch."""

_PHASES = {
    "materialize": "writing rows",
    "wait": "waiting for task slots",
    "spool": "spooling rows on the ranks' hosts",
    "start": "starting ranks",
    "build": "building the model",
}
"""The phases that are worth a word; checking takes no time, training speaks for itself."""


def progress_listener(
    verbose: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
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
    """
    if verbose <= 0:
        return Listener()
    target = sys.stderr if stream is None else stream
    if verbose == 1 and (_in_notebook() or _is_terminal(target)):
        return ProgressBar(target)
    return PlainLines(target, steps=verbose == 1, clock=clock)


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
    """

    def __init__(self, stream: TextIO, steps: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._steps = steps
        self._clock = clock
        self._plan: TrainingStarted | None = None
        self._began = self._last_line = clock()
        self._first_step = -1

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._on_step(event)
        elif isinstance(event, TrainingStarted):
            self._plan = event
            self._last_line = self._clock()
            self._first_step = -1
            self._write(say_start(event))
        elif isinstance(event, EpochEnded):
            self._last_line = self._clock()
            self._write(say_epoch(event, self._plan))
        elif text := say(event):
            self._write(text)

    def _on_step(self, event: StepEnded) -> None:
        now = self._clock()
        done = (event.epoch - 1) * event.steps + event.step
        if self._first_step < 0:
            # The first step warms up, and a resumed fit begins in the middle: its speed is counted from here.
            self._first_step, self._began = done, now
        if not self._steps or now - self._last_line < LINE_INTERVAL or self._plan is None or done == self._first_step:
            return
        self._last_line = now
        pace = (now - self._began) / (done - self._first_step)
        left = pace * (self._plan.epochs * event.steps - done)
        self._write(
            f"epoch {event.epoch}/{self._plan.epochs}, step {event.step}/{event.steps}: loss {event.loss:.4g}, "
            f"{event.rows_per_second:,.0f} rows/s, {say_time(left)} left"
        )

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class ProgressBar(Listener):
    """One bar over all steps of a fit, by tqdm; other lines are written above it.

    Parameters
    ----------
    stream : text file
        The terminal; a notebook shows the bar as a widget where ipywidgets is installed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._kind = _bar_class()
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
                self._open(bar_format="{desc}", leave=False).set_description_str(text)
        elif text := say(event):
            self._write(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _on_start(self, event: TrainingStarted) -> None:
        self.close()
        self._plan = event
        self._write(say_start(event))
        self._open(
            total=event.epochs * event.steps_per_epoch,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        ).set_description_str(f"epoch 1/{event.epochs}")

    def _on_step(self, event: StepEnded) -> None:
        if self._bar is None or self._plan is None:
            return
        begin = (event.epoch - 1) * event.steps
        if self._bar.n < begin and self._bar.n == self._bar.initial:
            # A resumed fit begins in the middle; the time left is counted from there.
            self._bar.n = self._bar.initial = begin
        self._bar.set_description_str(
            f"epoch {event.epoch}/{self._plan.epochs} step {event.step}/{event.steps}", refresh=False
        )
        self._bar.set_postfix_str(f"loss {event.loss:.4g}, {event.rows_per_second:,.0f} rows/s", refresh=False)
        self._bar.n = begin + event.step
        self._bar.refresh()

    def _on_epoch(self, event: EpochEnded) -> None:
        if self._bar is None or self._plan is None:
            return
        self._bar.n = event.epoch * self._plan.steps_per_epoch
        self._bar.set_description_str(f"epoch {event.epoch}/{self._plan.epochs}", refresh=False)
        self._bar.set_postfix_str(say_figures(event.logs), refresh=False)
        self._bar.refresh()

    def _open(self, **settings: Any) -> Any:
        self.close()
        self._bar = self._kind(file=self._stream, dynamic_ncols=True, **settings)
        return self._bar

    def _write(self, text: str) -> None:
        self._kind.write(text, file=self._stream)


def say(event: Event) -> str:
    """Return the line of an event that is no progress; empty where there is nothing to say."""
    if isinstance(event, PhaseStarted) and event.phase in _PHASES:
        return _PHASES[event.phase] + (f": {event.detail}" if event.detail else "")
    if isinstance(event, Notice):
        return event.text
    if isinstance(event, RankOutput):
        return f"[{event.rank}] {event.line}"
    if isinstance(event, UserMessage):
        return "\n".join(f"[{event.rank}] {line}" for line in event.text.splitlines())
    if isinstance(event, FitEnded) and event.error is not None:
        return f"fit failed: {event.error}"
    return ""


def say_start(event: TrainingStarted) -> str:
    """Return the line that names ranks, device and work."""
    ranks = "1 rank" if event.size == 1 else f"{event.size} ranks"
    return (
        f"training on {ranks} ({event.device}): {event.epochs} x {event.steps_per_epoch} steps, "
        f"{event.rows_per_epoch:,} rows an epoch"
    )


def say_epoch(event: EpochEnded, plan: TrainingStarted | None) -> str:
    """Return the line of an epoch."""
    of = "" if plan is None else f"/{plan.epochs}"
    return f"epoch {event.epoch}{of}: {say_figures(event.logs)}"


def say_figures(logs: Mapping[str, float]) -> str:
    """Return loss and metrics, then seconds and rows per second."""
    measured = [
        f"{name} {value:.4g}"
        for name, value in logs.items()
        if name not in ("epoch", "rows", "seconds", "rows_per_second", "wait_share", "lr")
    ]
    if "seconds" in logs:
        measured.append(f"{logs['seconds']:.1f} s")
    if "rows_per_second" in logs:
        measured.append(f"{logs['rows_per_second']:,.0f} rows/s")
    return ", ".join(measured)


def say_time(seconds: float) -> str:
    """Return a duration as 0:09, 12:30 or 1:02:03."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar_class() -> Any:
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        # In a notebook without ipywidgets tqdm says so and draws the bar as text, which is all we want.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        # tqdm's monitor is a thread that stays for the life of the process.
        monitor_interval = 0

    return Bar


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())
