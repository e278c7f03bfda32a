"""The events of a fit, and the interface of whoever listens to them on the driver.

Events come from rank 0 over the coordinator while the ranks train (or all at the end, where the coordinator cannot
reach the driver), and from the driver itself for the phases. A listener must never make a fit fail: `Listeners` keeps
the exceptions of its members away from the training and reports them as warnings.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PhaseStarted:
    """The driver begins a phase: "check", "materialize", "wait" (for slots), "spool", "start", "train", "build"."""

    phase: str
    detail: str = ""


@dataclass(frozen=True)
class Notice:
    """A line for the user about a choice that was made for them, or about what went wrong and is no error."""

    text: str


@dataclass(frozen=True)
class TrainingStarted:
    """Rank 0 is about to take its first step: number `step` of `epoch`, which are 0 and 1 unless it was resumed."""

    size: int
    epochs: int
    steps_per_epoch: int
    rows_per_epoch: int
    device: str = "cpu"
    epoch: int = 1
    step: int = 0


@dataclass(frozen=True)
class StepEnded:
    """Progress inside an epoch; at most a few a second are sent. `epoch` counts from 1, `step` is how many are done."""

    epoch: int
    step: int
    steps: int
    loss: float
    rows_per_second: float


@dataclass(frozen=True)
class EpochEnded:
    """One row of the history. `epoch` counts from 1."""

    epoch: int
    logs: Mapping[str, float]


@dataclass(frozen=True)
class RankOutput:
    """One whole line that a rank wrote to standard output or standard error."""

    rank: int
    line: str
    stream: str = "stdout"


@dataclass(frozen=True)
class UserMessage:
    """A line sent by `sparkdl.horovod.log_to_driver`."""

    rank: int
    text: str


@dataclass(frozen=True)
class FitEnded:
    """The fit is over.

    Attributes
    ----------
    seconds : mapping of str to float
        By phase.
    error : str or None
        One sentence if it failed.
    epochs : int or None
        How many were trained, fewer than planned where the training was stopped; None if it failed.
    best_epoch : int or None
        The epoch whose weights were kept, from 1; None without early stopping, where they are those of the last.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    epochs: int | None = None
    best_epoch: int | None = None


Event = PhaseStarted | Notice | TrainingStarted | StepEnded | EpochEnded | RankOutput | UserMessage | FitEnded


class Listener:
    """Hears the events of one fit, on the driver, in order, from one thread at a time."""

    def on_event(self, event: Event) -> None:
        """Hear one event."""

    def close(self) -> None:
        """Release what the listener holds; called once, after the last event."""


class Listeners(Listener):
    """Several listeners as one; what one of them raises becomes a warning and ends only that listener."""

    def __init__(self, members: Iterable[Listener] = ()) -> None:
        self._members = list(members)
        self._hearing = list(self._members)

    def on_event(self, event: Event) -> None:
        for member in list(self._hearing):
            try:
                member.on_event(event)
            except Exception as error:
                self._hearing.remove(member)
                warnings.warn(f"{type(member).__name__} was left out after: {error!r}", stacklevel=2)

    def close(self) -> None:
        for member in self._members:
            try:
                member.close()
            except Exception as error:
                warnings.warn(f"{type(member).__name__} did not close: {error!r}", stacklevel=2)


_BY_NAME: dict[str, Any] = {
    kind.__name__: kind
    for kind in (PhaseStarted, Notice, TrainingStarted, StepEnded, EpochEnded, RankOutput, UserMessage, FitEnded)
}


def to_record(event: Event) -> dict[str, Any]:
    """Return the event as a JSON-ready dict, for the wire."""
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return {"event": type(event).__name__, **{k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}}


def from_record(record: Mapping[str, Any]) -> Event:
    """Return the event that `to_record` has written."""
    fields = {name: value for name, value in record.items() if name != "event"}
    event: Event = _BY_NAME[record["event"]](**fields)
    return event
