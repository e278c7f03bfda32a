"""Batches on their way to the network's device: on a GPU the next one is copied while a step runs there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class DeviceBatch:
    """The rows of a batch that count, on the device of the network or on their way to it.

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
    wait : callable
        Makes the device wait until the rows are there; to be called before they are used.
    """

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    weights: Tensor | None
    count: int
    rows: int
    planned_rows: int
    wait: Callable[[], None] = lambda: None

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors."""
        return (*self.inputs, *self.targets, *(() if self.weights is None else (self.weights,)))


def started_ahead(source: Iterator[A], start: Callable[[A], B], ahead: int) -> Generator[B, None, None]:
    """Yield what `start` makes of each item, in order; when one is handed out, `ahead` more have been started.

    Parameters
    ----------
    source : iterator
        Closed at the end, also when this generator is left early.
    start : callable
        Begins something that goes on while the item before is used.
    ahead : int
    """
    started: deque[B] = deque()
    try:
        for item in source:
            started.append(start(item))
            if len(started) > ahead:
                yield started.popleft()
        yield from started
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


class SideStream:
    """Copies to a GPU on a stream of their own, beside the kernels of the current one.

    Parameters
    ----------
    device : torch.device
        Of CUDA.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def start(self, copy: Callable[[], DeviceBatch]) -> DeviceBatch:
        """Start to copy a batch.

        Parameters
        ----------
        copy : callable
            Copies it from pinned memory, without waiting.
        """
        with torch.cuda.stream(self._stream):
            batch = copy()
            done = self._stream.record_event()

        def wait() -> None:
            user = torch.cuda.current_stream(self._device)
            user.wait_event(done)
            for tensor in batch.tensors():
                # Their memory belongs to the side stream, which must not use it again before the step is over.
                for part in (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,):
                    part.record_stream(user)

        return replace(batch, wait=wait)
