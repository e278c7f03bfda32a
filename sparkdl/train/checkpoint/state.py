"""What a training is made of at one step: taken from all ranks, and put back on as many or on fewer."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sparkdl.comm.backend import Backend
from sparkdl.comm.wire import same
from sparkdl.errors import PersistenceError
from sparkdl.train.callbacks.callback import TrainState
from sparkdl.train.checkpoint.exchange import gather
from sparkdl.train.config import TrainConfig
from sparkdl.train.history import History
from sparkdl.train.weights import Marks, changed_beside_state, load_beside_state, load_weights

if TYPE_CHECKING:
    from sparkdl.train.metrics import MetricSet
    from sparkdl.train.step import Stepper, StepSums


@dataclass
class EpochSums:
    """What the steps of an epoch have added up so far, over all ranks; the seconds are this rank's."""

    weight: float = 0.0
    loss: float = 0.0
    rows: int = 0
    skipped: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def clear(self) -> None:
        self.weight = self.loss = self.seconds = self.waited = 0.0
        self.rows = self.skipped = 0

    def add(self, steps: Sequence[StepSums]) -> None:
        """Add the sums of some steps."""
        for step in steps:
            self.weight, self.loss, self.rows = self.weight + step.weight, self.loss + step.loss, self.rows + step.rows
            self.skipped += step.skipped

    @property
    def mean_loss(self) -> float:
        return self.loss / self.weight if self.weight > 0 else math.nan


@dataclass(frozen=True)
class Position:
    """Where a training goes on: an epoch from 1, the steps of it that are done, and whether all is over."""

    epoch: int = 1
    step: int = 0
    ended: bool = False


@dataclass
class Parts:
    """The parts of one training on one rank whose state belongs to a checkpoint."""

    module: nn.Module
    begun: Marks
    stepper: Stepper
    metrics: MetricSet
    train: TrainState
    history: History
    sums: EpochSums
    seconds: dict[str, float]
    config: TrainConfig
    backend: Backend
    device: torch.device


@torch.no_grad()
def capture(parts: Parts, position: Position) -> dict[str, Any]:
    """Return the state of the training, on rank 0; on others nothing. Collective.

    Tensors are those of the training itself: copy them before its next step.
    """
    ranks = gather(_own_state(parts), parts.backend, parts.device)
    if parts.backend.rank:
        return {}
    return {
        "position": [position.epoch, position.step, position.ended],
        "epochs": parts.config.epochs,
        "step": parts.train.step,
        "best_epoch": parts.train.best_epoch,
        "stopping": parts.train.stopping,
        "logs": dict(parts.train.logs),
        "history": [dict(row) for row in parts.history],
        "seconds": dict(parts.seconds),
        "sums": dict(vars(parts.sums)),
        "module": {**parts.module.state_dict(), **changed_beside_state(parts.module, parts.begun)},
        "stepper": parts.stepper.update.state_dict(),
        "callbacks": [callback.state_dict() for callback in parts.config.callbacks],
        "ranks": ranks,
    }


@torch.no_grad()
def restore(parts: Parts, state: Mapping[str, Any]) -> tuple[Position, list[str]]:
    """Put the state back, the same on every rank.

    With another number of ranks the random numbers of layers are others, and the statistics of batch norm are averaged.

    Returns
    -------
    Position
        Where the training goes on.
    list of str
        Metrics that know only a part of the rows of this epoch from now on: no sum of what ranks had can be made.

    Raises
    ------
    PersistenceError
        It is that of another network or of other settings.
    """
    try:
        position = Position(*state["position"])
        load_weights(parts.module, state["module"])
        # Where no step follows, the schedule need not know the steps that are behind it.
        over = position.epoch > parts.config.epochs or (position.ended and state["stopping"])
        same_plan = over or state["epochs"] == parts.config.epochs
        parts.stepper.update.load_state_dict(state["stepper"], same_plan=same_plan)
        for callback, saved in zip(parts.config.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        parts.train.step, parts.train.best_epoch = state["step"], state["best_epoch"]
        parts.train.stopping, parts.train.logs = state["stopping"], dict(state["logs"])
        parts.train.epoch = position.epoch if position.step else position.epoch - 1
        parts.history[:] = [dict(row) for row in state["history"]]
        parts.seconds |= {name: value for name, value in state["seconds"].items() if name in ("train", "validate")}
        for name, value in state["sums"].items():
            setattr(parts.sums, name, value)
        lost = _load_own_states(parts, state["ranks"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise PersistenceError(f"its state does not fit this training: {type(error).__name__}: {error}") from error
    if position.ended and not over:
        # There are more epochs now than when it ended.
        return Position(position.epoch), lost
    return position, lost


def _own_state(parts: Parts) -> dict[str, Any]:
    """Return what differs between ranks."""
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "rows": parts.stepper.rows,
        "metrics": parts.metrics.state_dict(),
        "buffers": _differing_buffers(parts),
        "plain": _plain_tensors(parts),
    }
    if parts.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(parts.device)
    return state


def _differing_buffers(parts: Parts) -> dict[str, Tensor]:
    """Return the buffers that are not as rank 0 has them, as the statistics of batch norm within an epoch."""
    buffers = dict(parts.module.named_buffers())
    if parts.backend.size == 1 or not buffers:
        return {}
    differing = {}
    for name, buffer in buffers.items():
        root = buffer.detach().clone()
        parts.backend.broadcast(root)
        if not same(root, buffer):
            differing[name] = buffer.detach()
    return differing


def _plain_tensors(parts: Parts) -> dict[str, Tensor]:
    """Return the plain attributes that have changed on a rank but rank 0, whose own are with the module."""
    if not parts.backend.rank:
        return {}
    buffers = dict(parts.module.named_buffers())
    changed = changed_beside_state(parts.module, parts.begun)
    return {name: value for name, value in changed.items() if name not in buffers}


def _load_own_states(parts: Parts, states: Sequence[Mapping[str, Any]]) -> list[str]:
    rank, size = parts.backend.rank, parts.backend.size
    mine = states[rank::size] if len(states) > size else states[rank : rank + 1]
    parts.stepper.rows = sum(state["rows"] for state in mine)
    lost = parts.metrics.load_state_dict([state["metrics"] for state in mine])
    if len(states) == size:
        own = states[rank]
        torch.set_rng_state(own["torch"])
        if parts.device.type == "cuda" and "cuda" in own:
            torch.cuda.set_rng_state(own["cuda"], parts.device)
        random.setstate(own["python"])
        np.random.set_state(own["numpy"])
        for name, value in own["buffers"].items():
            parts.module.get_buffer(name).copy_(value)
        # A checkpoint of before has none.
        load_beside_state(parts.module, own.get("plain", {}))
    else:
        _average_buffers(parts.module, states)
    return lost


def _average_buffers(module: nn.Module, states: Sequence[Mapping[str, Any]]) -> None:
    """Give buffers that differed the average over the ranks that were there, by the rows that each had seen."""
    rows = sum(state["rows"] for state in states)
    for name in {name for state in states for name in state["buffers"]}:
        buffer = module.get_buffer(name)
        if rows and buffer.is_floating_point():
            first = buffer.double().cpu()
            total = sum(state["buffers"].get(name, first).double() * state["rows"] for state in states)
            buffer.copy_(total / rows)
