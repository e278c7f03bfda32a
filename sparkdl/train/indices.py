"""Numbers that point into something: labels into the classes, inputs into the rows of an embedding.

A CPU raises an error for one that points nowhere. A GPU ends the process, so that there they are looked at before they
are copied: for what was seen of outputs and layers in the first step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparkdl.errors import DataError

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def outside(values: Tensor, count: int, ignored: int | None = None) -> tuple[int, int] | None:
    """Return the least and the greatest of `values`, but for `ignored`; None where all of them are 0 to count - 1."""
    for leave_out in (False, True):
        if leave_out:
            if ignored is None:
                break
            values = values[values != ignored]
        if not values.numel():
            return None
        low, high = (int(value) for value in torch.aminmax(values.long()))
        if low >= 0 and high < count:
            return None
    return low, high


@dataclass(frozen=True)
class Classes:
    """The classes that a loss knows.

    Attributes
    ----------
    count : int
    ignored : int or None
        The label whose rows do not count.
    said : str
        What has so many, for errors.
    from_zero : bool
        Whether labels below 0 are wrong too.
    """

    count: int
    ignored: int | None
    said: str
    from_zero: bool = True

    def wrong(self, labels: Tensor) -> str | None:
        """Return what is wrong with labels; None if nothing is."""
        found = outside(labels if self.from_zero else labels.clamp(min=0), self.count, self.ignored)
        if found is None:
            return None
        return f"class labels reach from {found[0]} to {found[1]}, {self.said}: labels must be 0 to {self.count - 1}"

    def check(self, labels: Tensor) -> None:
        """Raise DataError if a label is none of the classes."""
        said = self.wrong(labels)
        if said is not None:
            raise DataError(said)


@dataclass(frozen=True)
class _Part:
    """The numbers of an input that an embedding is given, as they lie in the memory of the input.

    `shape` and `strides` are those of a row, None for all of the input.
    """

    input: int
    name: str
    count: int
    offset: int = 0
    shape: tuple[int, ...] | None = None
    strides: tuple[int, ...] = ()

    def of(self, tensor: Tensor) -> Tensor:
        if self.shape is None:
            return tensor
        tensor = tensor.contiguous()
        start = tensor.storage_offset() + self.offset
        return tensor.as_strided((len(tensor), *self.shape), (tensor.stride(0), *self.strides), start)


class EmbeddedInputs:
    """Which inputs of a network go straight into an embedding, whole or a part of each row: found by watching one pass.

    Parameters
    ----------
    module : nn.Module
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [
            (name.removeprefix("_orig_mod."), layer)
            for name, layer in module.named_modules()
            if isinstance(layer, _EMBEDDINGS)
        ]
        self._compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        self._parts: dict[_Part, None] = {}

    def watched(self, inputs: Sequence[Tensor]) -> AbstractContextManager[None]:
        """Watch the first pass that has rows; DataError, before a layer computes it, if a number points nowhere."""
        return self._watching(inputs) if self._layers else nullcontext()

    @contextmanager
    def _watching(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        with ExitStack() as stack:
            if self._compiled and hasattr(torch.compiler, "set_stance"):
                # A compiled network would keep the hooks.
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for name, layer in self._layers:
                hook = layer.register_forward_pre_hook(_hook(self._parts, inputs, name))
                stack.callback(hook.remove)
            yield
        if any(tensor.numel() for tensor in inputs):
            self._layers = []

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Raise DataError if a number of the inputs points to no row of its embedding."""
        for part in self._parts:
            if inputs[part.input].numel():
                _check(part.of(inputs[part.input]), part.name, part.count)


def _hook(parts: dict[_Part, None], inputs: Sequence[Tensor], name: str) -> Any:
    def before(layer: Any, given: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling() or not given or not isinstance(given[0], Tensor):
            return
        numbers, count = given[0], int(layer.num_embeddings)
        for index, tensor in enumerate(inputs):
            part = _part(tensor, numbers, index, name, count)
            if part is not None:
                parts[part] = None
        _check(numbers, name, count)

    return before


def _part(tensor: Tensor, numbers: Tensor, index: int, name: str, count: int) -> _Part | None:
    """Return which part of an input the numbers are, if they share its memory."""
    if tensor.is_sparse or tensor.dtype != numbers.dtype or not numbers.numel():
        return None
    if tensor.untyped_storage().data_ptr() != numbers.untyped_storage().data_ptr():
        return None
    if numbers.numel() == tensor.numel():
        return _Part(index, name, count)
    if not tensor.is_contiguous() or numbers.dim() == 0 or len(numbers) != len(tensor):
        return None
    offset, row = int(numbers.storage_offset() - tensor.storage_offset()), math.prod(tensor.shape[1:])
    if numbers.stride(0) != row or not 0 <= offset < row:
        return None
    return _Part(index, name, count, offset, tuple(numbers.shape[1:]), tuple(numbers.stride()[1:]))


def _check(numbers: Tensor, name: str, count: int) -> None:
    found = outside(numbers, count)
    if found is not None:
        raise DataError(
            f"an input has numbers from {found[0]} to {found[1]}, which the network looks up in its embedding {name!r} "
            f"of {count} rows: they must be 0 to {count - 1}, so give it more rows, or count what they stand for from 0"
        )
