"""How much memory a constructor may take when a file says with which numbers it is called."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from sparkdl.comm.wire import size_of
from sparkdl.errors import NetworkError

_SPARE = 256 << 20
_TIMES = 8
_EACH = 16 << 10
"""Bytes of a tensor besides its numbers, with its part of the layer: many small ones fill memory too."""
_MOST_OPERATIONS = 10**12
"""Of the forward pass that tells the sizes of lazy layers: a minute or so on a CPU."""


_MAKERS = frozenset(
    getattr(torch, name)
    for name in re.findall(
        r"\w+",
        """empty zeros ones full rand randn randint randperm arange linspace logspace eye empty_strided tril_indices
        triu_indices""",
    )
)
"""What makes a tensor from sizes alone."""


class BudgetError(NetworkError):
    """A network would take more memory than its weights allow."""


class Budget(TorchFunctionMode):
    """While it is entered, new tensors may take as much memory as the weights that the network will get allow.

    That is eight times theirs and 256 MiB: constructors may make what they replace. Tensors that are made from sizes
    alone are counted before their memory is taken, and copies; of what else is computed, and may be gone soon, each by
    itself must not be larger.

    Parameters
    ----------
    weights : iterable of Tensor
    limited : bool
        False for a file that is trusted: nothing is refused.

    Raises
    ------
    BudgetError
        By what would take more.
    """

    def __init__(self, weights: Iterable[torch.Tensor], limited: bool = True) -> None:
        super().__init__()
        allowed = _SPARE + _TIMES * sum(_size(tensor) for tensor in weights)
        self._limit = self._left = allowed if limited else sys.maxsize
        self._limited = limited

    def check_operations(self, count: int) -> None:
        """Refuse a computation of more than `_MOST_OPERATIONS` floating point operations."""
        if count > _MOST_OPERATIONS and self._limited:
            raise BudgetError(
                f"its sizes follow from a computation of {count:.1g} operations, {_MOST_OPERATIONS:.0g} are allowed: "
                "the file is damaged, or made to take forever; if it is your own, load with trusted=True"
            )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _MAKERS and given.get("out") is None:
            on_meta = {**given, "device": "meta"}
            on_meta.pop("pin_memory", None)
            self._left -= self._checked(func(*args, **on_meta))
            return func(*args, **given)
        # Of a tensor that was made out of sight the memory is not in use before it is written to.
        self._checked(args[0] if args else None)
        result = func(*args, **given)
        size = self._checked(result)
        if func in (torch.Tensor.clone, torch.clone):
            self._left -= size
        return result

    def _checked(self, value: Any) -> int:
        size = _size(value) if isinstance(value, torch.Tensor) and not is_lazy(value) else 0
        if size > self._left:
            raise BudgetError(
                f"its layers would take more than the {self._limit:,} bytes that its weights in the file allow: "
                "the file is damaged, or made to fill the memory; if it is your own, load with trusted=True"
            )
        return size


def _size(tensor: torch.Tensor) -> int:
    return size_of(tensor) + _EACH
