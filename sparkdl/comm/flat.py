"""Gradients of all parameters in one buffer, summed over the ranks by one all-reduce a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sparkdl.comm.backend import Backend, GradientSync
from sparkdl.comm.buckets import Buckets, Slot
from sparkdl.errors import NetworkError

_ALIGN = 16
"""Elements; every gradient starts on a boundary that vector instructions like."""

_PARTS = 3
"""float32 numbers that carry one float64: 3 x 24 bits of mantissa are more than 53."""


class FlatSync(GradientSync):
    """One buffer: the gradients, then for every rank its own places for the extra numbers.

    The buffer is float32, or float64 if a parameter is. Gradients of parameters of another dtype (bfloat16, float16)
    are copied in and out. An extra number travels as three float32 numbers in places that all other
    ranks leave at zero, so its sum is taken in float64 and is exact for counts far beyond 2^24.

    One more number says how many parameters the loss of a rank does not reach. Only where there are some do the ranks
    ask each other which: those that no rank reaches have no gradient, as in torch, and the optimizer leaves them alone.

    Parameters
    ----------
    backend : Backend
        Sums the buffer.
    parameters : sequence of Parameter
        Those that are trained; of one device.
    extra : int
        How many numbers go along.
    bucket_bytes : int
        Where it is not 0, each so many bytes of gradients are summed as soon as the backward pass has made them, while
        it makes the next. There may be one backward pass between `zero` and `sum` then.
    """

    def __init__(
        self, backend: Backend, parameters: Sequence[torch.nn.Parameter], extra: int, bucket_bytes: int = 0
    ) -> None:
        if not parameters:
            raise NetworkError("the network has no parameter to train: give it layers, or set requires_grad on some")
        strange = next((p.dtype for p in parameters if not p.is_floating_point()), None)
        if strange is not None:
            raise NetworkError(f"a parameter has dtype {strange}: only real floating point parameters can be trained")
        self._backend = backend
        self._extra = extra
        dtype = torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32
        sizes = [-(-p.numel() // _ALIGN) * _ALIGN for p in parameters]
        tails = (backend.size if backend.size > 1 else 0, extra + 1, _PARTS)
        self._buffer = torch.zeros(sum(sizes) + math.prod(tails), dtype=dtype, device=parameters[0].device)
        self._flat = self._buffer[: sum(sizes)]
        self._tails = self._buffer[sum(sizes) :].view(tails)
        # On the CPU a few numbers are handled faster without torch.
        self._tail_array = self._tails.numpy() if self._tails.device.type == "cpu" else None
        self._slots: list[Slot] = []
        offset = 0
        for parameter, size in zip(parameters, sizes, strict=True):
            # With a version of its own: views share that of the buffer.
            window = _window(self._buffer, offset, parameter).data
            gradient = window if parameter.dtype == dtype else torch.zeros_like(parameter)
            self._slots.append(Slot(parameter, window, gradient))
            offset += size
        self._copied = [slot for slot in self._slots if slot.gradient is not slot.window]
        self._buckets: Buckets | None = None
        if bucket_bytes and backend.size > 1:
            self._buckets = Buckets(backend, self._slots, self._flat, sizes, bucket_bytes)

    def zero(self) -> None:
        if self._buckets is not None:
            self._buckets.begin()
        self._buffer.zero_()
        for slot in self._copied:
            slot.gradient.zero_()
        for slot in self._slots:
            if slot.parameter.grad is not slot.gradient:
                slot.parameter.grad = slot.gradient
            slot.version = slot.gradient._version

    def sum(self, extra: Sequence[float | torch.Tensor]) -> list[float]:
        missed: float = self._collect(extra)
        found: list[float]
        if self._tail_array is None:
            # The norm comes back with the sums: one wait for a GPU instead of two.
            *found, self.norm, missed = self._summed(extra, missed).tolist()
        else:
            *found, missed = self._summed_on_cpu(extra, missed)
            self.norm = float(torch.linalg.vector_norm(self._flat))
        self.missed = missed
        if missed and self._backend.size > 1:
            self._agree_on_reached()
        self._drop_unreached(missed)
        return found

    def sum_on_device(self, extra: Sequence[float | torch.Tensor]) -> torch.Tensor:
        missed = self._collect(extra)
        sums = self._summed(extra, missed)
        if self._backend.size == 1:
            self._drop_unreached(missed)
        return sums

    def scale(self, factor: float | torch.Tensor) -> None:
        self._flat.mul_(factor)
        for slot in self._copied:
            slot.gradient.copy_(slot.window)

    def reached(self) -> list[bool]:
        return [slot.reached for slot in self._slots]

    def mark_reached(self, reached: Sequence[bool]) -> None:
        for slot, is_reached in zip(self._slots, reached, strict=True):
            slot.version = slot.gradient._version - is_reached

    def _summed_on_cpu(self, extra: Sequence[float | torch.Tensor], missed: float) -> list[float]:
        """Sum over the ranks; return the sums of the extra numbers, and last how many parameters are missed."""
        if self._tail_array is None or self._backend.size == 1:
            return [*map(float, extra), missed]
        self._tail_array[self._backend.rank] = _split_on_cpu([*extra, self._said(missed)])
        self._all_reduce()
        found: list[float] = self._tail_array.sum((0, 2), dtype=np.float64).tolist()
        return found

    def _summed(self, extra: Sequence[float | torch.Tensor], missed: float) -> torch.Tensor:
        """Do the same without waiting for the device; return extra numbers, norm, missed: (extra + 2,) float64."""
        numbers = _placed([*extra, self._said(missed)], self._buffer.device)
        if self._backend.size > 1:
            self._tails[self._backend.rank] = _split(numbers).to(self._tails.dtype)
            self._all_reduce()
            numbers = self._tails.to(torch.float64).sum((0, 2))
        norm = torch.linalg.vector_norm(self._flat).to(torch.float64)
        return torch.cat((numbers[:-1], norm[None], numbers[-1:]))

    def _all_reduce(self) -> None:
        if self._buckets is None:
            self._backend.all_reduce(self._buffer)
        else:
            self._buckets.finish()
            self._backend.all_reduce(self._tails)
        for slot in self._copied:
            slot.gradient.copy_(slot.window)

    def _said(self, missed: float) -> float:
        """Return what the others are told: a rank without rows reaches nothing, and does not say that nobody does."""
        return missed if self._backend.size == 1 or missed < len(self._slots) else 0.0

    def _collect(self, extra: Sequence[float | torch.Tensor]) -> int:
        """Bring into the buffer what lies outside of it; return how many parameters no gradient has reached here.

        Outside lie other dtypes, and gradients that a hook has replaced.
        """
        if len(extra) != self._extra:
            raise ValueError(f"{len(extra)} extra numbers were given, {self._extra} were agreed at construction")
        missed = 0
        for slot in self._slots:
            present = slot.parameter.grad
            slot.reached = slot.gradient._version != slot.version
            if present is not slot.gradient:
                slot.reached = present is not None
                if self._buckets is not None:
                    raise NetworkError("a hook replaces gradients that other ranks have summed: register it before fit")
                slot.gradient.zero_() if present is None else slot.gradient.copy_(present)
                slot.parameter.grad = slot.gradient
            missed += not slot.reached
        if self._buckets is None:
            for slot in self._copied:
                slot.window.copy_(slot.gradient)
        return missed

    def _agree_on_reached(self) -> None:
        reached = torch.tensor([float(slot.reached) for slot in self._slots], device=self._buffer.device)
        self._backend.all_reduce(reached)
        for slot, ranks in zip(self._slots, reached.tolist(), strict=True):
            slot.reached = ranks > 0

    def _drop_unreached(self, missed: float) -> None:
        if missed:
            for slot in self._slots:
                if not slot.reached:
                    slot.parameter.grad = None


def _window(buffer: torch.Tensor, offset: int, parameter: torch.Tensor) -> torch.Tensor:
    """Return a view of the buffer in the parameter's shape, and in its memory order where that is dense."""
    ordered = sorted(
        (stride, size) for stride, size in zip(parameter.stride(), parameter.shape, strict=True) if size > 1
    )
    expected = 1
    for stride, size in ordered:
        if stride != expected:
            return buffer[offset : offset + parameter.numel()].view(parameter.shape)
        expected *= size
    return torch.as_strided(buffer, parameter.shape, parameter.stride(), offset)


def _split_on_cpu(numbers: Sequence[float | torch.Tensor]) -> npt.NDArray[np.float32]:
    """Return what `_split` returns, as an array."""
    exact = np.array([float(number) for number in numbers])
    parts = np.empty((len(exact), _PARTS), dtype=np.float32)
    with np.errstate(all="ignore"):
        for index in range(_PARTS):
            parts[:, index] = exact
            exact -= parts[:, index]
    return parts


def _placed(numbers: Sequence[float | torch.Tensor], device: torch.device) -> torch.Tensor:
    """Return numbers of both kinds as (len(numbers),) float64 on the device, without waiting for it."""
    known = [0.0 if isinstance(number, torch.Tensor) else float(number) for number in numbers]
    pinned = torch.tensor(known, dtype=torch.float64, pin_memory=device.type == "cuda")
    placed = pinned.to(device, non_blocking=True)
    for place, number in zip(placed, numbers, strict=True):
        if isinstance(number, torch.Tensor):
            place.copy_(number, non_blocking=True)
    return placed


def _split(numbers: torch.Tensor) -> torch.Tensor:
    """Return (len(numbers), 3) float32 parts whose sum in float64 is each number."""
    exact, parts = numbers, []
    for _ in range(_PARTS):
        part = exact.to(torch.float32)
        exact = exact - part
        parts.append(part)
    return torch.stack(parts, dim=1)
