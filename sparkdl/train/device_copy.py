"""Batches on their way to the network's device: on a GPU one is copied while the step before it runs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DeviceBatch:
    """The rows of a batch that count, on the device of the network.

    Attributes
    ----------
    inputs, targets : tuple of Tensor
        As the network and its loss take them, (n, ...).
    weights : Tensor or None
        (n,), none of them 0.
    count : int
        Rows here.
    rows : int
        Rows that this rank was given, those of weight 0 too.
    planned_rows : int
        Rows of the step over all ranks.
    """

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    weights: Tensor | None
    count: int
    rows: int
    planned_rows: int

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors."""
        return (*self.inputs, *self.targets, *(() if self.weights is None else (self.weights,)))


class SideStream:
    """Copies to a GPU on a stream of its own, beside the kernels of the current one.

    While the GPU computes a step, the CPU is ahead of it and starts the copy that the next step waits for. It is never
    further ahead than two steps: then it waits, so that few batches lie on the GPU, and in pinned memory. Where the
    loop waits for the results of each step but one, two lie there.

    Parameters
    ----------
    device : torch.device
        Of CUDA.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._done: torch.cuda.Event | None = None
        self._sources: list[Tensor] = []
        self._used: torch.cuda.Event | None = None

    def send(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of tensors of the CPU, for which the device waits before the next kernel of the current stream.

        The tensors are held until they are copied: what is pinned already is copied as it is.
        """
        user = torch.cuda.current_stream(self._device)
        if self._done is not None:
            self._done.synchronize()
        with torch.cuda.stream(self._stream):
            if self._used is not None:
                # Of the steps that were started before, the last one may still run.
                self._stream.wait_event(self._used)
            self._sources = [_pinned(tensor) for tensor in tensors]
            copies = [tensor.to(self._device, non_blocking=True) for tensor in self._sources]
            self._done = self._stream.record_event()
        self._used = user.record_event()
        user.wait_event(self._done)
        for copy in copies:
            # Their memory belongs to the side stream, which must not use it again before the step is over.
            for part in (copy._indices(), copy._values()) if copy.is_sparse else (copy,):
                part.record_stream(user)
        return copies


def _pinned(tensor: Tensor) -> Tensor:
    """Return the tensor in memory from which a GPU copies by itself, where there is any left."""
    if tensor.device.type != "cpu" or tensor.is_sparse or not tensor.numel() or tensor.is_pinned():
        return tensor
    try:
        return tensor.pin_memory()
    except RuntimeError:
        return tensor
