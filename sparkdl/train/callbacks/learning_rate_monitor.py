"""The learning rates of all groups of parameters, as columns of the history."""

from __future__ import annotations

from torch.optim import Optimizer

from sparkdl.train.callbacks.callback import Callback, TrainState


class LearningRateMonitor(Callback):
    """Adds ``lr_<group>`` to the history for each group of parameters of the optimizer: that of the epoch's last step.

    A group is called by its number, or by its "name" where the optimizer's groups have one. The history's own "lr"
    is that of the first group.

    Parameters
    ----------
    momentum : bool
        Also add ``momentum_<group>``, which some schedules change: SGD's momentum, or Adam's first beta.
    """

    __module__ = "sparkdl.train.callbacks"

    _used: dict[str, float]
    _next: dict[str, float]

    def __init__(self, momentum: bool = False) -> None:
        self.momentum = momentum

    def on_epoch_begin(self, state: TrainState) -> None:
        self._used = self._next = self._rates(state.optimizer)

    def on_step_end(self, state: TrainState) -> None:
        # The schedule has gone on already.
        self._used, self._next = self._next, self._rates(state.optimizer)

    def on_epoch_end(self, state: TrainState) -> None:
        state.logs |= self._used

    def _rates(self, optimizer: Optimizer) -> dict[str, float]:
        rates: dict[str, float] = {}
        for number, group in enumerate(optimizer.param_groups):
            name = group.get("name", number)
            rates[f"lr_{name}"] = float(group["lr"])
            momentum = group.get("momentum", next(iter(group.get("betas", ())), None))
            if self.momentum and momentum is not None:
                rates[f"momentum_{name}"] = float(momentum)
        return rates
