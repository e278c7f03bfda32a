"""One optimizer step over all ranks: each adds its share, one all-reduce, then all do the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from sparkdl.comm.backend import Backend
from sparkdl.errors import NetworkError, SettingError
from sparkdl.train.config import TrainConfig
from sparkdl.train.device_copy import DeviceBatch
from sparkdl.train.device_network import DeviceNetwork
from sparkdl.train.metrics import MetricSet
from sparkdl.train.optim import step_function, trainable

_EXTRAS = 5


@dataclass(frozen=True)
class StepSums:
    """What a step has added up over all ranks.

    Attributes
    ----------
    weight, loss : float
        Sum of the row weights, and of weight x loss.
    rows : int
        Rows, those of weight 0 too.
    stop : bool
        Whether some rank has asked to stop.
    save : bool
        Whether rank 0 has asked for a checkpoint.
    """

    weight: float
    loss: float
    rows: int
    stop: bool
    save: bool


class Stepper:
    """Trains a module step by step.

    Each rank adds the sum of weight x loss of its rows, divided by the planned rows of the step over all ranks. One
    all-reduce sums gradients, weights and losses. Then every rank rescales by planned rows over total weight, clips,
    and steps.

    Parameters
    ----------
    network : DeviceNetwork
    optimizer : Optimizer
    schedule : object or None
        With step().
    config : TrainConfig
    backend : Backend
    metrics : MetricSet
        Is given the outputs on the way.
    """

    def __init__(
        self,
        network: DeviceNetwork,
        optimizer: Optimizer,
        schedule: Any,
        config: TrainConfig,
        backend: Backend,
        metrics: MetricSet,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._step_optimizer = step_function(optimizer)
        self._schedule = schedule
        self._parts = config.accumulation_steps
        self._clip = config.gradient_clip_norm
        self._metrics = metrics
        self._backend = backend
        self._sync = backend.gradient_sync(trainable(network.module), _EXTRAS)
        layers = [layer for layer in network.module.modules() if isinstance(layer, _BatchNorm)]
        self._has_norms = bool(layers)
        self._in_step = config.sync_batch_norm and backend.size > 1 and bool(layers)
        self._refuses_one_row = bool(layers) and backend.size > 1 and not config.sync_batch_norm
        self.lr = config.learning_rate
        self.rows = 0
        self.taken = 0
        # Seconds on this rank, of all steps so far; on a GPU they say little, it works on its own.
        self.computing = self.summing = 0.0

    def step(self, batch: DeviceBatch, where: Callable[[], str], stop: bool, save: bool = False) -> StepSums:
        """Take one step together with all other ranks.

        Parameters
        ----------
        batch : DeviceBatch
            This rank's rows.
        where : callable
            Says which step it is, for errors.
        stop, save : bool
            Whether this rank asks to stop, or for a checkpoint after this step.

        Raises
        ------
        NetworkError
            Loss or gradient are not finite, on every rank alike (float16 lowers its scale first).
        """
        began = time.perf_counter()
        self._sync.zero()
        loss, weight = self._share(batch)
        self.rows += batch.count
        mine = [weight, loss, batch.rows, float(stop), float(save)]
        computed = time.perf_counter()
        total_weight, total_loss, total_rows, stops, saves = self._sync.sum(mine)
        self.computing += computed - began
        self.summing += time.perf_counter() - computed
        self._apply(batch.planned_rows, total_weight, total_loss, where)
        return StepSums(total_weight, total_loss, int(total_rows), stops > 0, saves > 0)

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate follows a schedule, which depends on the number of steps of all epochs."""
        return self._schedule is not None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizer, schedule and precision: that of all ranks alike."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "precision": self._network.precision.state_dict(),
            "lr": self.lr,
            "taken": self.taken,
        }

    def load_state_dict(self, saved: Mapping[str, Any], *, same_plan: bool) -> None:
        """Go on from what `state_dict` has returned; with other epochs than then the schedule is the new one's.

        Parameters
        ----------
        saved : mapping
        same_plan : bool
            Whether the training has as many steps as it had then.
        """
        fresh = [{name: value for name, value in g.items() if name != "params"} for g in self._optimizer.param_groups]
        self._optimizer.load_state_dict(dict(saved["optimizer"]))
        for parameter, state in self._optimizer.state.items():
            for name, value in state.items():
                if (
                    isinstance(value, Tensor)
                    and value.shape == parameter.shape
                    and value.stride() != parameter.stride()
                ):
                    # In the order of dimensions that the parameter has in memory, as the optimizer had made it.
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        self._network.precision.load_state_dict(saved["precision"])
        self.lr, self.taken = saved["lr"], saved["taken"]
        if self._schedule is None:
            return
        if same_plan:
            self._schedule.load_state_dict(saved["schedule"])
            return
        for group, values in zip(self._optimizer.param_groups, fresh, strict=True):
            group.update(values)
        # By this a schedule knows that the optimizer has stepped before it.
        self._optimizer._opt_called = True  # type: ignore[attr-defined]
        for _ in range(self.taken):
            self._schedule.step()

    def _share(self, batch: DeviceBatch) -> tuple[Tensor | float, Tensor | float]:
        """Add this rank's gradients; return its sum of weight x loss and its sum of weights."""
        if self._refuses_one_row and batch.count == 1:
            raise SettingError(
                "a step gives a rank one row, of which batch norm can take no statistics: "
                "set syncBatchNorm or dropLast, raise batchSize or lower numProcs"
            )
        loss: Tensor | float = 0.0
        weight: Tensor | float = 0.0
        ratios: Tensor | None = None
        waiting = self._network.objective.needs_ratios(batch.targets)
        for part in _parts(batch, self._parts_of(batch)):
            # Every rank runs every forward pass with batch norm over ranks, or the others would wait for it.
            if not part.count and not self._in_step:
                continue
            outputs = self._network.forward(part.inputs)
            if waiting:
                ratios, waiting = self._ratios(outputs, batch), False
            if part.count:
                part_loss, part_weight = self._backward(outputs, part, ratios)
                loss, weight = loss + part_loss, weight + part_weight
            else:
                (sum((output.sum() for output in outputs), torch.zeros(())) * 0.0).backward()
        if waiting:
            self._ratios((), batch)
        return loss, weight

    def _parts_of(self, batch: DeviceBatch) -> int:
        """Return in how many parts a step is computed: batch norm can take no statistics of one row."""
        if self._parts == 1 or not self._has_norms:
            return self._parts
        if not self._in_step:
            return max(1, min(self._parts, batch.count // 2))
        counts = torch.zeros(self._backend.size, dtype=torch.float64, device=batch.targets[0].device)
        counts[self._backend.rank] = batch.count
        self._backend.all_reduce(counts)
        return _parts_over_ranks([int(count) for count in counts.tolist()], self._parts)

    def _ratios(self, outputs: tuple[Tensor, ...], batch: DeviceBatch) -> Tensor:
        """Agree with all ranks on what divides each of several losses by its own weights in this step. Collective."""
        objective, count = self._network.objective, len(batch.targets)
        if outputs and batch.count:
            weights = objective.weights(outputs, batch.targets, batch.weights)
        else:
            weights = torch.zeros(count + 1, dtype=torch.float64, device=batch.targets[0].device)
        self._backend.all_reduce(weights)
        return objective.ratios(weights)

    def _backward(
        self, outputs: tuple[Tensor, ...], batch: DeviceBatch, ratios: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        loss, weight = self._network.objective(outputs, batch.targets, batch.weights, ratios)
        (loss * (self._network.precision.scale / batch.planned_rows)).backward()
        self._metrics.update(outputs, batch.targets)
        return loss.detach().double(), weight

    def _apply(self, planned_rows: int, weight: float, loss: float, where: Callable[[], str]) -> None:
        """Step, or skip the step; every rank decides by the same sums."""
        precision = self._network.precision
        if not (math.isfinite(loss) and math.isfinite(weight) and math.isfinite(self._sync.norm)):
            if precision.scales and precision.shrink():
                return
            what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
            raise NetworkError(
                f"{what} in {where()}: look for NaN, infinite or huge values in the columns and for logarithms, "
                f"roots or divisions in the loss, scale the features, lower learningRate (now {self.lr:g}) "
                "or set gradientClipNorm"
            )
        if weight <= 0:
            return
        factor = planned_rows / weight / precision.scale
        if self._clip is not None:
            factor *= min(1.0, self._clip / (self._sync.norm * factor + 1e-6))
        if factor != 1.0:
            self._sync.scale(factor)
        self.lr = float(self._optimizer.param_groups[0]["lr"])
        self._step_optimizer()
        self.taken += 1
        precision.grow()
        if self._schedule is not None:
            self._schedule.step()


def _parts_over_ranks(rows: Sequence[int], most: int) -> int:
    """Return the greatest number of parts of which each has two rows or more over all ranks; 1 if there is none."""
    for parts in range(min(most, sum(rows) // 2), 1, -1):
        sizes = [sum(count * (i + 1) // parts - count * i // parts for count in rows) for i in range(parts)]
        if min(sizes) > 1:
            return parts
    return 1


def _parts(batch: DeviceBatch, parts: int) -> Sequence[DeviceBatch]:
    if parts == 1:
        return (batch,)
    cuts = [batch.count * i // parts for i in range(parts + 1)]
    return [
        replace(
            batch,
            # Sparse tensors have no views.
            inputs=tuple(t.narrow_copy(0, low, high - low) if t.is_sparse else t[low:high] for t in batch.inputs),
            targets=tuple(t[low:high] for t in batch.targets),
            weights=None if batch.weights is None else batch.weights[low:high],
            count=high - low,
        )
        for low, high in pairwise(cuts)
    ]
