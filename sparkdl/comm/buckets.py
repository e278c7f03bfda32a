"""Gradients that are summed over the ranks while the backward pass still makes the next ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from sparkdl.comm.backend import Backend
from sparkdl.errors import NetworkError

_BUCKET_BYTES = 25 * 2**20
"""As in DistributedDataParallel: large enough for the whole speed of the network, small enough for several of them."""


def bucket_bytes(parameters: Sequence[torch.nn.Parameter]) -> int:
    """Return the size of a bucket for these parameters, or 0 where they are better summed at once.

    On CPUs the threads that sum would take the cores from the backward pass, and small networks have nothing to hide.
    """
    large = 4 * sum(parameter.numel() for parameter in parameters) > 2 * _BUCKET_BYTES
    hooked = any(parameter._post_accumulate_grad_hooks for parameter in parameters)
    return _BUCKET_BYTES if large and not hooked and parameters[0].is_cuda else 0


@dataclass
class Slot:
    """A parameter, its part of the buffer in the parameter's shape, and its gradient (the same tensor or a copy).

    A backward pass that adds to the gradient changes its version: so it shows whether the loss reaches the parameter.
    """

    parameter: torch.nn.Parameter
    window: torch.Tensor
    gradient: torch.Tensor
    version: int = 0
    reached: bool = True


@dataclass
class _Bucket:
    """Gradients that are summed together.

    Attributes
    ----------
    part : Tensor
        Of the buffer.
    slots : list of Slot
    missing : set of int
        Which of the slots the backward pass has still to fill.
    started : bool
    """

    part: torch.Tensor
    slots: list[Slot] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    started: bool = False


class Buckets:
    """The parts of a buffer of gradients, the last ones first, as a backward pass makes them.

    Parts are summed in this order on every rank, whatever is ready first, because ranks must agree on it. What a
    backward pass has not reached is summed at the end.

    Parameters
    ----------
    backend : Backend
    slots : sequence of Slot
    flat : Tensor
        The buffer, without the extra numbers.
    sizes : sequence of int
        Elements of each slot in it.
    limit : int
        Bytes of a bucket; one gradient may be larger.
    """

    def __init__(
        self, backend: Backend, slots: Sequence[Slot], flat: torch.Tensor, sizes: Sequence[int], limit: int
    ) -> None:
        self._backend = backend
        self._buckets: list[_Bucket] = []
        end = first = len(flat)
        for slot, size in reversed(list(zip(slots, sizes, strict=True))):
            if not self._buckets or (end - first + size) * flat.element_size() > limit:
                self._buckets.append(_Bucket(flat[first:first]))
                end = first
            first -= size
            bucket = self._buckets[-1]
            bucket.part = flat[first:end]
            slot.parameter.register_post_accumulate_grad_hook(self._hook(slot, bucket, len(bucket.slots)))
            bucket.slots.append(slot)
        self._pending: list[Callable[[], None]] = []
        self._summing = True
        self.begin()

    def begin(self) -> None:
        """Get ready for a backward pass."""
        for bucket in self._buckets:
            bucket.missing, bucket.started = set(range(len(bucket.slots))), False
        self._pending.clear()
        self._summing = True

    def finish(self) -> None:
        """Sum what is left, and wait for all. Collective."""
        while len(self._pending) < len(self._buckets):
            self._start_next()
        for wait in self._pending:
            wait()
        self._summing = False

    def _hook(self, slot: Slot, bucket: _Bucket, number: int) -> Callable[[torch.Tensor], None]:
        def made(parameter: torch.Tensor) -> None:
            if not self._summing:
                # Of a backward pass that belongs to no step.
                return
            if bucket.started:
                raise NetworkError(
                    "the backward pass adds twice to one gradient, which the ranks have summed by then: set "
                    "use_reentrant=False in torch.utils.checkpoint, or accumulationSteps=2"
                )
            if slot.gradient is not slot.window:
                slot.window.copy_(slot.gradient)
            bucket.missing.discard(number)
            while len(self._pending) < len(self._buckets) and not self._buckets[len(self._pending)].missing:
                self._start_next()

        return made

    def _start_next(self) -> None:
        bucket = self._buckets[len(self._pending)]
        bucket.started = True
        self._pending.append(self._backend.start_all_reduce(bucket.part))
