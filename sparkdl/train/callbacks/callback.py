"""What users may hang into the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer


@dataclass
class TrainState:
    """Where the training stands, on this rank.

    Attributes
    ----------
    rank, size : int
        This rank and the number of ranks.
    epoch : int
        From 1; 0 before the first begins.
    step : int
        Optimizer steps since the training began, over all epochs.
    logs : dict
        After a step: "loss" of the epoch so far and "lr". After an epoch: its row of the history.
    module : nn.Module
    optimizer : Optimizer
    """

    rank: int
    size: int
    module: nn.Module
    optimizer: Optimizer
    epoch: int = 0
    step: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    stopping: bool = False

    def stop(self) -> None:
        """End the training on all ranks, at the end of this epoch or of the next step; one rank's call is enough."""
        self.stopping = True


class Callback:
    """Base of callbacks: every method is called on every rank, and does nothing unless it is overridden.

    A callback must not talk to other ranks on some of them only. What it raises ends the training with that error.
    """

    # Saved stages name it so, wherever the file lies.
    __module__ = "sparkdl.train.callbacks"

    def on_train_begin(self, state: TrainState) -> None:
        """Before the first step."""

    def on_epoch_begin(self, state: TrainState) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, state: TrainState) -> None:
        """After a step, also one that all ranks have skipped."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After the training and validation of an epoch."""

    def on_train_end(self, state: TrainState) -> None:
        """After the last epoch; with early stopping the module has its best weights."""


def call(callbacks: Sequence[Callback], event: str, state: TrainState) -> None:
    """Call one method of all callbacks, in order."""
    for callback in callbacks:
        getattr(callback, event)(state)
