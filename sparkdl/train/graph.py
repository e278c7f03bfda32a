"""Forward and backward pass of small steps as one CUDA graph, which a GPU runs without being told kernel by kernel."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sparkdl.comm.backend import GradientSync
from sparkdl.train.config import TrainConfig
from sparkdl.train.device_copy import DeviceBatch

_WARM_UP = 3
"""Steps that are taken kernel by kernel first: libraries choose and allocate in them what a graph cannot contain."""
_LONGEST_SECONDS = 5e-3
"""Of a step: in a longer one the GPU is never out of work, and a graph would only hold memory."""
_KNOWN = ("torch.nn.", "sparkdl.nn.")
"""Packages whose layers do the same work for each batch of a shape. Code of the user may count, draw or branch in
Python, which a graph would do once and never again."""

_log = logging.getLogger(__name__)

Found = tuple[Tensor, Tensor | float, tuple[Tensor, ...]]
"""Loss, weight and outputs."""


def can_be_graphed(module: nn.Module, config: TrainConfig) -> bool:
    """Return whether every batch of a shape means the same work to the device, as far as one can know."""
    layers_known = all(
        type(layer).__module__.startswith(_KNOWN)
        and not isinstance(layer, nn.RNNBase | nn.SyncBatchNorm)
        and not _hooks(layer)
        for layer in module.modules()
    )
    losses_known = all(
        isinstance(loss, str) or str(getattr(loss, "__module__", "")).startswith("torch.nn.") for loss in config.losses
    )
    callbacks_known = all(type(each).__module__.startswith("sparkdl.") for each in config.callbacks)
    # The scale of float16's loss changes from step to step; torch.compile may make graphs of its own.
    return layers_known and losses_known and callbacks_known and config.precision != "fp16" and not config.compile


@dataclass(frozen=True)
class _Captured:
    """A graph, and the memory that it reads and writes.

    Attributes
    ----------
    graph : torch.cuda.CUDAGraph
    inputs : tuple of Tensor
        As `DeviceBatch.tensors`.
    found : Found
    reached : list of bool
        Which parameters the backward pass reaches.
    """

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    found: Found
    reached: list[bool]


class GraphedPass:
    """One pass over a batch; as a graph for batches like the first one, once it is known to pay.

    Parameters
    ----------
    one_pass : callable
        Computes the loss of a batch and adds its gradients to those of the parameters.
    sync : GradientSync
        Has set the gradients to zero.
    """

    def __init__(self, one_pass: Callable[[DeviceBatch], Found], sync: GradientSync) -> None:
        self._pass = one_pass
        self._sync = sync
        self._stream: torch.cuda.Stream | None = None
        self._like: Any = None
        self._steps = 0
        self._given_up = False
        self._captured: _Captured | None = None

    def __call__(self, batch: DeviceBatch) -> Found:
        """Compute a batch that is on the device."""
        if self._given_up:
            return self._pass(batch)
        like = (batch.planned_rows, [(t.shape, t.dtype, t.stride(), t.layout) for t in batch.tensors()])
        if self._like is None:
            self._like = like
        if like != self._like:
            return self._pass(batch)
        if self._steps < _WARM_UP:
            return self._warm_up(batch)
        self._captured = captured = self._captured or self._capture(batch)
        if captured is None:
            self._given_up = True
            return self._pass(batch)
        return self._replay(captured, batch)

    def _warm_up(self, batch: DeviceBatch) -> Found:
        # On a stream that is not the default one, of which a capture would have to keep track.
        stream = self._stream = self._stream or torch.cuda.Stream()
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.cuda.stream(stream):
            found = self._pass(batch)
        torch.cuda.synchronize()
        self._steps += 1
        if self._steps == _WARM_UP and time.perf_counter() - began > _LONGEST_SECONDS:
            self._given_up = True
        return found

    def _capture(self, batch: DeviceBatch) -> _Captured | None:
        inputs = tuple(tensor.clone() for tensor in batch.tensors())
        still = _with_tensors(batch, inputs)
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        spare, user = generator.clone_state(), torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads read and pin memory meanwhile, which is no business of this graph.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                found = self._pass(still)
        except Exception as error:
            # Whatever it is: what was right without a graph still is. A capture that fails leaves its stream in place,
            # and a generator that thinks it is captured.
            torch.cuda.set_stream(user)
            generator.graphsafe_set_state(spare)
            _log.info("steps are not run as a CUDA graph: %s", error)
            return None
        return _Captured(graph, inputs, found, self._sync.reached())

    def _replay(self, captured: _Captured, batch: DeviceBatch) -> Found:
        for mine, given in zip(captured.inputs, batch.tensors(), strict=True):
            mine.copy_(given, non_blocking=True)
        captured.graph.replay()
        # The host has seen no backward pass.
        self._sync.mark_reached(captured.reached)
        loss, weight, outputs = captured.found
        # The next replay writes to the same memory.
        return loss, weight, tuple(output.clone() for output in outputs)


def _with_tensors(batch: DeviceBatch, tensors: tuple[Tensor, ...]) -> DeviceBatch:
    """Return a batch with other tensors, in the order of `DeviceBatch.tensors`."""
    inputs, targets = len(batch.inputs), len(batch.targets)
    return replace(
        batch,
        inputs=tensors[:inputs],
        targets=tensors[inputs : inputs + targets],
        weights=None if batch.weights is None else tensors[-1],
    )


def _hooks(layer: nn.Module) -> bool:
    return any(
        (
            layer._forward_hooks,
            layer._forward_pre_hooks,
            layer._backward_hooks,
            layer._backward_pre_hooks,
        )
    )
