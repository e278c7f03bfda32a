"""Averaged weights, measured in place of the trained ones and given to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sparkdl.errors import SettingError
from sparkdl.train.callbacks.callback import Callback, TrainState


class EMA(Callback):
    """Keeps an exponential moving average of the weights; the model gets the average.

    After each step ``average = decay * average + (1 - decay) * weights``, beginning with the weights after the first
    one. Validation measures the average, and early stopping keeps it; the next epoch goes on with the trained
    weights. Buffers, such as the statistics of batch norm, are those of the trained network. The memory is that of
    one more copy of the weights, on the device.

    Parameters
    ----------
    decay : float
        From 0 to below 1; about 1 / (1 - decay) steps are averaged.

    Raises
    ------
    SettingError
        The decay is none.

    Notes
    -----
    The average is torch's, `torch.optim.swa_utils.get_ema_multi_avg_fn`.
    """

    __module__ = "sparkdl.train.callbacks"

    _parameters: list[Tensor]
    _other: list[Tensor]
    _averaging: bool
    _swapped: bool

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise SettingError(f"invalid decay={decay!r} of EMA: expected a number >= 0 and < 1")
        self.decay = decay

    def on_train_begin(self, state: TrainState) -> None:
        self._parameters = [p for p in state.module.parameters() if p.requires_grad]
        self._other = [p.detach().clone() for p in self._parameters]
        self._averaging = self._swapped = False

    def on_epoch_begin(self, state: TrainState) -> None:
        if self._swapped:
            self._swap()

    @torch.no_grad()
    def on_step_end(self, state: TrainState) -> None:
        if self._averaging:
            get_ema_multi_avg_fn(self.decay)(self._other, self._parameters, None)
        else:
            torch._foreach_copy_(self._other, self._parameters)
            self._averaging = True

    def on_validation_begin(self, state: TrainState) -> None:
        self._swap()

    def state_dict(self) -> dict[str, Any]:
        return {"other": self._other, "averaging": self._averaging, "swapped": self._swapped}

    @torch.no_grad()
    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        for mine, kept in zip(self._other, saved["other"], strict=True):
            mine.copy_(kept)
        self._averaging, self._swapped = bool(saved["averaging"]), bool(saved["swapped"])

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange what the network holds with the other set of weights: the average, or the trained ones."""
        for parameter, other in zip(self._parameters, self._other, strict=True):
            before = parameter.clone()
            parameter.copy_(other)
            other.copy_(before)
        self._swapped = not self._swapped
