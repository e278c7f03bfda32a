"""The batch of the next step is copied to the GPU while the step before it runs there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sparkdl.train.config import Batch

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


def one_ahead(source: Iterator[A], start: Callable[[A], B]) -> Generator[B, None, None]:
    """Yield what `start` makes of each item, in order; when one is handed out, the next has been started.

    Parameters
    ----------
    source : iterator
        Closed at the end, also when this generator is left early.
    start : callable
        Begins something that goes on while the item before is used.
    """
    started: deque[B] = deque()
    try:
        for item in source:
            started.append(start(item))
            if len(started) > 1:
                yield started.popleft()
        yield from started
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True)
class Placed(Generic[R]):
    """A batch whose rows are on their way to the device.

    Attributes
    ----------
    inputs, targets, weights, planned_rows, for_network
        As they came.
    arrived : callable
        Makes the device wait for the rows, and returns them.
    """

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    weights: Tensor | None
    planned_rows: int
    for_network: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    arrived: Callable[[], R]


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

    def start(self, batch: Batch, place: Callable[[Batch], R], tensors: Callable[[R], Iterable[Tensor]]) -> Placed[R]:
        """Start to copy a batch.

        Parameters
        ----------
        batch : Batch
            On the CPU.
        place : callable
            Copies it from pinned memory, without waiting.
        tensors : callable
            The tensors in what `place` returned.
        """
        with torch.cuda.stream(self._stream):
            rows = place(batch)
            done = self._stream.record_event()

        def arrived() -> R:
            user = torch.cuda.current_stream(self._device)
            user.wait_event(done)
            for tensor in tensors(rows):
                # Their memory belongs to the side stream, which must not use it again before the step is over.
                for part in (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,):
                    part.record_stream(user)
            return rows

        return Placed(batch.inputs, batch.targets, batch.weights, batch.planned_rows, batch.for_network, arrived)
