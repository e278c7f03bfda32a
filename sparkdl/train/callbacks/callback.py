"""What users may hang into the training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
        After a step: "loss" of the epoch so far and "lr". After an epoch: its row of the history, the same on every
        rank; numbers that `on_epoch_end` adds to it on rank 0 become columns of the history.
    module : nn.Module
    optimizer : Optimizer
    measured : mapping of str to bool or None
        What each epoch measures, and whether more of it is better; None where nobody says.
    best_epoch : int or None
        The epoch whose weights the model gets, set by the callback that has kept them; None: those of the last one.
    """

    rank: int
    size: int
    module: nn.Module
    optimizer: Optimizer
    epoch: int = 0
    step: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    stopping: bool = False
    measured: Mapping[str, bool | None] = field(default_factory=dict)
    best_epoch: int | None = None

    def stop(self) -> None:
        """End the training on all ranks, at the end of this epoch or of the next step; one rank's call is enough."""
        self.stopping = True


class Callback:
    """Base of callbacks: every method is called on every rank, and does nothing unless it is overridden.

    Callbacks are called in the order in which they are given, at the end of the training in the opposite order. A
    callback must not talk to other ranks on some of them only. What it raises ends the training with that error.
    """

    # Saved stages name it so, wherever the file lies.
    __module__ = "sparkdl.train.callbacks"

    def on_train_begin(self, state: TrainState) -> None:
        """Before the first step."""

    def on_epoch_begin(self, state: TrainState) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, state: TrainState) -> None:
        """After a step, also one that all ranks have skipped."""

    def on_validation_begin(self, state: TrainState) -> None:
        """After the last step of an epoch, before its validation; also where no rows are validated."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After the training and validation of an epoch."""

    def on_train_end(self, state: TrainState) -> None:
        """After the last epoch. What the module holds now becomes the model's; early stopping by the Params has put the
        best weights there before.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what this callback needs to go on later: tensors, numbers and texts, also in lists and dicts."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` has returned. It is called after `on_train_begin`."""


def call(callbacks: Iterable[Callback], hook: str, state: TrainState) -> None:
    """Call one method of all callbacks, in order; an error gets a note that names the callback and the method."""
    for callback in callbacks:
        try:
            getattr(callback, hook)(state)
        except Exception as error:
            error.add_note(f"raised by {type(callback).__name__}.{hook} in epoch {state.epoch}, step {state.step}")
            raise
