"""One optimizer step over all ranks: each adds its share, one all-reduce, then all do the same."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
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
from sparkdl.train.graph import GraphedPass, can_be_graphed
from sparkdl.train.metrics import MetricSet
from sparkdl.train.optim import trainable
from sparkdl.train.update import Update, reads_late

_EXTRAS = 6


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
    skipped : bool
        Whether float16 was too short for its rows: they have no weight, and nothing is learned from them.
    """

    weight: float
    loss: float
    rows: int
    stop: bool
    save: bool
    skipped: bool = False


@dataclass(frozen=True)
class _Underway:
    """A step that a GPU is given, and what it will have added up.

    Attributes
    ----------
    sums : Tensor
        As `GradientSync.sum_on_device` returns them, but in memory of the host, once they are there.
    ready : torch.cuda.Event or None
        None if they are there.
    scale : float
        Of the loss in this step.
    where : callable
        Says which step it is.
    """

    sums: Tensor
    ready: torch.cuda.Event | None
    scale: float
    where: Callable[[], str]


class Stepper:
    """Trains a module step by step.

    Each rank adds the sum of weight x loss of its rows, divided by the planned rows of the step over all ranks. One
    all-reduce sums gradients, weights and losses. Then every rank rescales by planned rows over total weight, clips,
    and steps.

    A GPU is given each step before it is done with the one before: whether a step can be applied is decided there, and
    its sums are read when the next one is on its way. The ranks read the same sums at the same step.

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
        self._parts = config.accumulation_steps
        self._metrics = metrics
        self._backend = backend
        parameters = trainable(network.module)
        layers = [layer for layer in network.module.modules() if isinstance(layer, _BatchNorm)]
        self._has_norms = bool(layers)
        self._in_step = config.sync_batch_norm and backend.size > 1 and bool(layers)
        self._refuses_one_row = bool(layers) and backend.size > 1 and not config.sync_batch_norm
        one_pass = config.accumulation_steps == 1 and not self._in_step
        self._sync = backend.gradient_sync(parameters, _EXTRAS, one_pass=one_pass)
        self.update = Update(optimizer, schedule, config, self._sync, network.precision)
        self._reads_late = reads_late(parameters[0].device, optimizer)
        self._underway: deque[_Underway] = deque()
        self._graph: GraphedPass | None = None
        if one_pass and parameters[0].is_cuda and can_be_graphed(network.module, config):
            self._graph = GraphedPass(self._pass, self._sync)
        self.rows = 0
        # Seconds on this rank, of all steps so far; on a GPU they say little, it works on its own.
        self.computing = self.summing = 0.0

    def step(
        self, batch: DeviceBatch, where: Callable[[], str], stop: bool, save: bool = False, *, wait: bool = True
    ) -> list[StepSums]:
        """Take one step together with all other ranks.

        Parameters
        ----------
        batch : DeviceBatch
            This rank's rows.
        where : callable
            Says which step it is, for errors.
        stop, save : bool
            Whether this rank asks to stop, or for a checkpoint after this step.
        wait : bool
            Whether the sums of this step are wanted now. All ranks say the same.

        Returns
        -------
        list of StepSums
            Of the steps whose sums are known now and were not before, in their order.

        Raises
        ------
        NetworkError
            Loss or gradient of a step are not finite, on every rank alike (float16 lowers its scale first).
        """
        known = self.finish() if wait else []
        began = time.perf_counter()
        loss, weight = self._share(batch)
        self.rows += batch.count
        wrong = _not_finite(batch) if self._network.precision.scales else 0.0
        mine = [weight, loss, batch.rows, float(stop), float(save), wrong]
        computed = time.perf_counter()
        self.computing += computed - began
        if self._reads_late and not wait:
            sums = self._sync.sum_on_device(mine)
            self.update.apply_on_device(sums, batch.planned_rows)
            self._underway.append(_Underway(*_on_host(sums), self._network.precision.scale, where))
            return [self._read() for _ in range(len(self._underway) - 1)]
        found = self._sync.sum(mine)
        self.summing += time.perf_counter() - computed
        if self._backend.size > 1 and self._sync.missed:
            # The ranks have to ask each other in each step which parameters have a gradient.
            self._reads_late = False
        known.append(self._checked(found, self._sync.norm, self._network.precision.scale, where))
        self.update.apply(known[-1].weight, batch.planned_rows)
        return known

    def finish(self) -> list[StepSums]:
        """Return the sums of the steps that are still underway."""
        return [self._read() for _ in range(len(self._underway))]

    def _share(self, batch: DeviceBatch) -> tuple[Tensor | float, Tensor | float]:
        """Add this rank's gradients; return its sum of weight x loss and its sum of weights."""
        if self._refuses_one_row and batch.count == 1:
            raise SettingError(
                "a step gives a rank one row, of which batch norm can take no statistics: "
                "set syncBatchNorm or dropLast, raise batchSize or lower numProcs"
            )
        self._sync.zero()
        loss: Tensor | float = 0.0
        weight: Tensor | float = 0.0
        ratios: Tensor | None = None
        waiting = self._network.objective.needs_ratios(batch.targets)
        if self._graph is not None and batch.count and not waiting:
            loss, weight, outputs = self._graph(batch)
            self._metrics.update(outputs, batch.targets)
            return loss, weight
        for part in _parts(batch, self._parts_of(batch)):
            # Every rank runs every forward pass with batch norm over ranks, or the others would wait for it.
            if not part.count and not self._in_step:
                continue
            outputs = self._network.forward(part.inputs)
            if waiting:
                ratios, waiting = self._ratios(outputs, batch), False
            if part.count:
                part_loss, part_weight = self._backward(outputs, part, ratios)
                self._metrics.update(outputs, part.targets)
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
        return loss.detach().double(), weight

    def _pass(self, batch: DeviceBatch) -> tuple[Tensor, Tensor | float, tuple[Tensor, ...]]:
        """Return loss, weight and outputs of rows that are computed at once."""
        outputs = self._network.forward(batch.inputs)
        return *self._backward(outputs, batch, None), tuple(output.detach() for output in outputs)

    def _read(self) -> StepSums:
        """Return the sums of the step that has been underway for longest."""
        step = self._underway.popleft()
        if step.ready is not None:
            step.ready.synchronize()
        *found, norm, missed = step.sums.tolist()
        if self._backend.size > 1 and missed:
            self._reads_late = False
        return self._checked(found, norm, step.scale, step.where)

    def _checked(self, found: Sequence[float], norm: float, scale: float, where: Callable[[], str]) -> StepSums:
        """Return the sums of a step; raise, on every rank alike, where there is nothing to be learned from it."""
        weight, loss, rows, stops, saves, wrong = found
        precision = self._network.precision
        if math.isfinite(loss) and math.isfinite(weight) and math.isfinite(norm):
            if weight > 0:
                precision.grow()
            return StepSums(weight, loss, int(rows), stops > 0, saves > 0)
        if precision.scales and not wrong and precision.shrink(scale):
            return StepSums(0.0, 0.0, int(rows), stops > 0, saves > 0, skipped=True)
        what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
        raise NetworkError(
            f"{what} in {where()}: look for NaN, infinite or huge values in the columns and for logarithms, "
            f"roots or divisions in the loss, scale the features, lower learningRate (now {self.update.lr:g}) "
            "or set gradientClipNorm"
        )


def _on_host(sums: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Return sums in memory of the host, and what tells when they are there."""
    if not sums.is_cuda:
        return sums, None
    host = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
    host.copy_(sums, non_blocking=True)
    ready = torch.cuda.Event()
    ready.record()
    return host, ready


def _not_finite(batch: DeviceBatch) -> Tensor | float:
    """Return how many tensors of a batch hold NaN or infinity: no scale of the loss helps there."""
    floats = [tensor for tensor in batch.tensors() if tensor.is_floating_point() and not tensor.is_sparse]
    if not floats or not batch.count:
        return 0.0
    return torch.stack([~torch.isfinite(tensor).all() for tensor in floats]).sum(dtype=torch.float64)


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
