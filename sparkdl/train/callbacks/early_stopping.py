"""Early stopping: has the watched figure made progress, and which weights were the best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from sparkdl.errors import SettingError

_PROGRESS = 1e-4
"""Relative: 0.01% of the best figure so far is no progress."""


class EarlyStopping:
    """Watches one figure of the history and keeps the weights of its best epoch, in host memory.

    Parameters
    ----------
    metric : str
        Its name in the history.
    patience : int
        Epochs without progress after which the training ends.
    maximise : bool
        Whether more is better.
    """

    def __init__(self, metric: str, patience: int, maximise: bool) -> None:
        if patience < 1:
            raise SettingError(f"earlyStoppingPatience={patience} must be at least 1, or unset")
        self.metric = metric
        self.patience = patience
        self._sign = -1.0 if maximise else 1.0
        self._best = math.inf
        self._since = 0
        self.best_epoch: int | None = None
        self.best_state: dict[str, Tensor] | None = None

    def judge(self, logs: Mapping[str, float]) -> tuple[bool, bool]:
        """Return whether this epoch made progress, and whether the training should end. A NaN is no progress."""
        value = self._sign * logs[self.metric]
        margin = _PROGRESS * abs(self._best) if math.isfinite(self._best) else 0.0
        if value < self._best - margin:
            self._best, self._since = value, 0
            return True, False
        self._since += 1
        return False, self._since >= self.patience

    def keep(self, epoch: int, module: nn.Module) -> None:
        """Take the module's present weights as the best."""
        self.best_epoch = epoch
        self.best_state = weights_of(module)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the module's state on the CPU."""
    state = module.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items() if isinstance(value, Tensor)}
