"""A copy of the user's network, or the sentence for what in it cannot be copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy, with weights and modes.

    Raises
    ------
    NetworkError
        Names the attribute that has no copy, and what to do.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:
        name = type(module).__name__
        for index, value in _attributes(module):
            try:
                copy.deepcopy(value)
            except Exception as inner:
                raise NetworkError(
                    f"the network {name} cannot be copied, because its attribute {index} is {_described(value)} "
                    f"({type(inner).__name__}: {_first_line(inner)}): {_remedy(value)}"
                ) from error
        raise NetworkError(
            f"the network {name} cannot be copied ({type(error).__name__}: {_first_line(error)}), and every rank needs "
            "a copy: let copy.deepcopy work on it"
        ) from error


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What the layers hold besides other layers, with the name by which a user reaches it."""
    for path, layer in module.named_modules():
        own = {**layer._parameters, **layer._buffers}
        own |= {
            name: value for name, value in vars(layer).items() if name not in ("_parameters", "_buffers", "_modules")
        }
        for name, value in own.items():
            yield repr(f"{path}.{name}" if path else name), value


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "a tensor that was computed from others"
    kind = type(value)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _remedy(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "compute it in forward, or keep it as a parameter, or a buffer after detach()"
    return "make it in forward when it is first needed, or leave it out of copies by __getstate__"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
