"""The sentences about a fit: the same words in a log file, on a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping

from sparkdl.events import (
    EpochEnded,
    Event,
    FitEnded,
    Notice,
    PhaseStarted,
    RankOutput,
    StepEnded,
    TrainingStarted,
    UserMessage,
)

_PHASES = {
    "materialize": "writing rows",
    "wait": "waiting for task slots",
    "spool": "spooling rows on the ranks' hosts",
    "start": "starting ranks",
    "build": "building the model",
}
"""The phases that are worth a word; checking takes no time, training speaks for itself."""


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
    return ""


def say_start(event: TrainingStarted) -> str:
    """Return the line that names ranks, device and work."""
    ranks = "1 rank" if event.size == 1 else f"{event.size} ranks"
    return (
        f"training on {ranks} ({event.device}): {event.epochs} x {event.steps_per_epoch} steps, "
        f"{event.rows_per_epoch:,} rows an epoch"
    )


def done_before(event: TrainingStarted) -> int:
    """Return the steps that were done before this start: a training may be resumed."""
    return (event.epoch - 1) * event.steps_per_epoch + event.step


def say_epoch(event: EpochEnded, plan: TrainingStarted | None) -> str:
    """Return the line of an epoch."""
    of = "" if plan is None else f"/{plan.epochs}"
    return f"epoch {event.epoch}{of}: {say_figures(event.logs)}"


def say_step(event: StepEnded, plan: TrainingStarted) -> str:
    """Return where in an epoch the training is, without figures."""
    return f"epoch {event.epoch}/{plan.epochs} step {event.step}/{event.steps}"


def say_end(event: FitEnded, plan: TrainingStarted | None) -> str:
    """Return the error of a fit, or after which epoch it was stopped and whose weights it kept; empty if neither."""
    if event.error is not None:
        return f"fit failed: {event.error}"
    said = []
    if plan is not None and event.epochs is not None and event.epochs < plan.epochs:
        said.append(f"stopped after epoch {event.epochs}")
    if event.best_epoch is not None and event.best_epoch != event.epochs:
        said.append(f"weights of epoch {event.best_epoch}")
    return ", ".join(said)


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
