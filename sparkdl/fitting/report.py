"""What a fit tells its listeners: its phases and their seconds, its events, its end."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from sparkdl.params.stages import TrainingParams
from sparkdl.report.listener import Event, FitEnded, Listener, Listeners, Notice, PhaseStarted
from sparkdl.report.progress import progress_listener
from sparkdl.tracking.mlflow import open_tracking

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sparkdl.model import NetworkModel


_said: set[str] = set()
_saying = threading.Lock()


class FitReport(Listener, AbstractContextManager["FitReport"]):
    """The listeners of one fit, and the time that each of its phases took.

    Parameters
    ----------
    stage : TrainingParams
        The estimator: `verbose` and `mlflow` say who listens.
    checked : float
        Seconds that the checks took, which come before anybody listens.

    Attributes
    ----------
    seconds : dict of str to float
        By phase: "check", "materialize", "spool" (of a direct feed), "start", "train", "build".
    """

    def __init__(self, stage: TrainingParams, checked: float) -> None:
        params = {param.name: value for param, value in stage.extractParamMap().items()}
        self._tracking = open_tracking(stage.getMlflow(), params, stage.uid)
        shown = progress_listener(stage.getVerbose())
        self._listeners = Listeners([shown] if self._tracking is None else [shown, self._tracking])
        self._silent = not stage.getVerbose()
        self.seconds = {"check": checked}
        self._phase = ""
        self._began = time.monotonic()

    def on_event(self, event: Event) -> None:
        self._listeners.on_event(event)

    def notice(self, text: str) -> None:
        """Say a line that one fit of a program may say for all of them: a search makes hundreds."""
        with _saying:
            new = bool(text) and not self._silent and text not in _said
            if new:
                _said.add(text)
        if new:
            self.on_event(Notice(text))

    def phase(self, name: str) -> None:
        """End the phase before and begin another."""
        self._end_phase()
        self._phase = name
        self.on_event(PhaseStarted(name))

    def trained(self, seconds: float, spooled: float | None = None) -> None:
        """Say how much of the phase that runs was training and spooling; the rest was the start of the ranks."""
        self._end_phase()
        self.seconds["start"] = max(0.0, self.seconds["start"] - seconds - (spooled or 0.0))
        if spooled is not None:
            self.seconds["spool"] = spooled
        self.seconds["train"] = seconds

    def keep(self, model: NetworkModel, frame: DataFrame) -> None:
        """Hand the model to who keeps models."""
        self._end_phase()
        if self._tracking is not None:
            self._tracking.log_model(model, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_phase()
        sentence = None
        if error is not None:
            # Also where a listener was left out in mid-fit, and for an interrupt.
            if self._tracking is not None:
                self._tracking.fail(error)
            sentence = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.on_event(FitEnded(dict(self.seconds), sentence))
        self._listeners.close()

    def _end_phase(self) -> None:
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._began
        self._phase, self._began = "", now
