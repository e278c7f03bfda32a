"""What rank 0 tells of the training while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sparkdl.events import EpochEnded, Event, Notice, StepEnded, TrainingStarted, to_record

_SECONDS_BETWEEN = 0.3
"""Between two events of steps: a few a second are enough for a bar."""

Emit = Callable[[Mapping[str, Any]], None]


class Progress:
    """Sends events as records; on other ranks, or without a receiver, it does nothing.

    Parameters
    ----------
    emit : callable or None
        Takes one JSON-ready record.
    """

    def __init__(self, emit: Emit | None) -> None:
        self._emit = emit
        self._next = 0.0

    def start(self, event: TrainingStarted) -> None:
        self._send(event)

    def say(self, text: str) -> None:
        self._send(Notice(text))

    def step(self, epoch: int, step: int, steps: int, loss: float, rows: int, began: float) -> None:
        """Tell of a step of an epoch that began at a time of `time.monotonic`, at most a few times a second."""
        now = time.monotonic()
        if self._emit is None or now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN
        self._send(StepEnded(epoch, step, steps, loss, rows / max(now - began, 1e-9)))

    def epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        self._send(EpochEnded(epoch, dict(logs)))

    def _send(self, event: Event) -> None:
        if self._emit is not None:
            self._emit(to_record(event))
