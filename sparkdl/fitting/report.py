"""What a fit tells its listeners: its phases and their seconds, its events, its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from sparkdl.events import Event, FitEnded, Listener, Listeners, Notice, PhaseStarted
from sparkdl.params.setting import Setting
from sparkdl.params.shown import describe, shorten
from sparkdl.params.stages import TrainingParams
from sparkdl.report.progress import progress_listener
from sparkdl.spark.causes import cause_of
from sparkdl.spark.console import without_stages
from sparkdl.spark.folds import fold_of
from sparkdl.spark.session import names_stop
from sparkdl.tracking.mlflow import open_tracking

if TYPE_CHECKING:
    from pyspark.ml.param import Param
    from pyspark.sql import DataFrame

    from sparkdl.estimators.model import NetworkModel

MAX_TITLE_VALUE = 30
"""Characters of the value of a Param in a title."""


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
    title : str
        Which fit of a search it is.
    leave : bool
        Whether what it shows stays when it is done: it is none of a search.

    Attributes
    ----------
    alone : bool
        Whether it is none of a search.
    seconds : dict of str to float
        By phase: "check", "materialize", "spool" (of a direct feed), "start", "train", "build".
    """

    def __init__(self, stage: TrainingParams, checked: float, title: str = "", leave: bool = True) -> None:
        params = {param.name: value for param, value in stage.extractParamMap().items()}
        self._tracking = open_tracking(stage.getMlflow(), params, stage.uid, alone=leave)
        shown = progress_listener(stage.getVerbose(), title=title, leave=leave)
        self._listeners = Listeners([shown] if self._tracking is None else [shown, self._tracking])
        self._silent = not stage.getVerbose()
        self.alone = leave
        self.seconds = {"check": checked}
        self._epochs: int | None = None
        self._best_epoch: int | None = None
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

    def trained(
        self,
        seconds: float,
        spooled: float | None = None,
        epochs: int | None = None,
        best_epoch: int | None = None,
    ) -> None:
        """Say how much of the phase that runs was training and spooling; the rest was the start of the ranks.

        Also how many epochs were trained, and the one whose weights were kept by early stopping.
        """
        self._epochs, self._best_epoch = epochs, best_epoch
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
            sentence = cause_of(error)
        self.on_event(FitEnded(dict(self.seconds), sentence, self._epochs, self._best_epoch))
        self._listeners.close()

    def _end_phase(self) -> None:
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._began
        self._phase, self._began = "", now


@contextmanager
def report_of(
    stage: TrainingParams,
    frame: DataFrame,
    checked: float,
    number: tuple[int, int] | None = None,
    varied: Mapping[Param[Any], Any] = MappingProxyType({}),
) -> Iterator[FitReport]:
    """Give the report of a fit; one of a search says which fit it is, and leaves no bar behind.

    Parameters
    ----------
    stage, checked
        As FitReport takes them.
    frame : DataFrame
        The rows, which tell the fold.
    number : (int, int), optional
        Of this fit, from 1, and how many there are, in a `fitMultiple`.
    varied : mapping of Param to value
        The ParamMap of this fit.
    """
    fold = fold_of(frame)
    alone = fold is None and number is None
    title = "" if alone else title_of(fold or "", number, varied)
    quiet = without_stages(frame.sparkSession) if stage.getVerbose() else nullcontext()
    with quiet, FitReport(stage, checked, title, leave=alone) as report, names_stop(frame.sparkSession, "the fit"):
        yield report


def title_of(fold: str, number: tuple[int, int] | None, varied: Mapping[Param[Any], Any]) -> str:
    """Return which fit of a search it is: "fold 2 of 3, fit 4 of 8 (learningRate=0.01)".

    Parameters
    ----------
    fold : str
        As `spark.folds.fold_of` says it; empty where there is none.
    number : (int, int) or None
        Of the ParamMap, from 1, and how many there are.
    varied : mapping of Param to value
        The ParamMap.
    """
    which = [fold] if fold else []
    if number is not None:
        which.append("fit {} of {}".format(*number))
    values = ", ".join(
        f"{param.name}={shorten(describe(value), MAX_TITLE_VALUE)}"
        for param, value in varied.items()
        if not (isinstance(param, Setting) and param.secret)
    )
    return f"{', '.join(which)} ({values})" if which and values else ", ".join(which) or values
