"""Early stopping: ends the training when a metric makes no progress, and takes a snapshot of the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparkdl.errors import SettingError
from sparkdl.train.callbacks.callback import Callback, TrainState
from sparkdl.train.weights import load_weights, weights_of

_PROGRESS = 1e-4
"""Relative: 0.01% of the best value so far is no progress."""


class EarlyStopping(Callback):
    """Ends the training when the monitored metric makes no progress; the model gets the weights of its best epoch.

    The Params earlyStoppingMetric and earlyStoppingPatience make one. The snapshot of the weights is in host memory.

    Parameters
    ----------
    metric : str
        A column of the history: "loss" or a metric, "val_" in front for the rows of validation.
    patience : int
        Epochs without progress after which the training ends; 0.01% of the best value is no progress, nor is NaN.
    higher_is_better : bool, optional
        By default what is known of the metric: less is better for a loss, and torchmetrics says it of its metrics.

    Raises
    ------
    SettingError
        The patience is none; when the training begins: the metric is not measured, or nobody knows its direction.
    """

    __module__ = "sparkdl.train.callbacks"

    _sign: float
    _best: float
    _since: int
    _best_epoch: int | None
    _best_weights: dict[str, Tensor]

    def __init__(self, metric: str = "val_loss", patience: int = 3, higher_is_better: bool | None = None) -> None:
        if patience < 1:
            raise SettingError(f"invalid patience={patience!r} of EarlyStopping: expected an integer >= 1")
        self.metric = metric
        self.patience = patience
        self.higher_is_better = higher_is_better

    def direction(self, measured: Mapping[str, bool | None]) -> bool:
        """Return whether more of the metric is better.

        Parameters
        ----------
        measured : mapping of str to bool or None
            What each epoch measures, as `TrainState.measured`.

        Raises
        ------
        SettingError
            The metric is not measured, or nobody knows its direction.
        """
        if self.metric not in measured:
            raise SettingError(
                f"invalid metric={self.metric!r} of early stopping: expected one that is measured, "
                f"{', '.join(measured)}; val_ needs rows for validation"
            )
        higher = measured[self.metric] if self.higher_is_better is None else self.higher_is_better
        if higher is None:
            raise SettingError(
                f"invalid metric={self.metric!r} of early stopping: nobody says whether more of it is better; "
                "give the function an attribute higher_is_better = True or False"
            )
        return higher

    def on_train_begin(self, state: TrainState) -> None:
        self._sign = -1.0 if self.direction(state.measured) else 1.0
        self._best, self._since = math.inf, 0
        self._best_epoch, self._best_weights = None, {}

    def on_epoch_end(self, state: TrainState) -> None:
        # Every rank has the same values here, so all of them decide alike.
        if self._is_progress(self._sign * state.logs[self.metric]):
            self._best_epoch, self._best_weights = state.epoch, weights_of(state.module)
        elif self._since >= self.patience:
            state.stop()
        state.best_epoch = self._best_epoch

    def on_train_end(self, state: TrainState) -> None:
        if self._best_weights:
            load_weights(state.module, self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self._best,
            "since": self._since,
            "best_epoch": self._best_epoch,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self._best, self._since = float(saved["best"]), int(saved["since"])
        self._best_epoch, self._best_weights = saved["best_epoch"], dict(saved["best_weights"])

    def _is_progress(self, value: float) -> bool:
        margin = _PROGRESS * abs(self._best) if math.isfinite(self._best) else 0.0
        if value < self._best - margin:
            self._best, self._since = value, 0
            return True
        self._since += 1
        return False
