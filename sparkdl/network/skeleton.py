"""A network as a pickle without its tensors, which stand in a file of their own.

This is code: who unpickles it runs it. It is how a network reaches the executors of the same application, and how a
network of a notebook can be loaded elsewhere by somebody who trusts the file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import nn

from sparkdl.comm.torch_pickle import TorchPickler
from sparkdl.errors import NetworkError

UNNAMED = "unnamed:"
"""How the names of tensors begin that only the pickle knows."""


def dump_skeleton(module: nn.Module, tensors: MutableMapping[str, torch.Tensor]) -> bytes:
    """Pickle a network with references in place of its tensors.

    Parameters
    ----------
    module : nn.Module
        Classes of ``__main__`` and of functions go by value, others by name.
    tensors : mutable mapping of str to Tensor
        Tensors that have a name already; those that have none are added.

    Raises
    ------
    NetworkError
        If it cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, tensors).dump(module)
    except Exception as error:
        raise NetworkError(
            f"the network {type(module).__name__} cannot be pickled: {type(error).__name__}: {error}"
        ) from error
    return buffer.getvalue()


def load_skeleton(data: bytes, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return the network of a pickle that the caller trusts."""
    module = _Unpickler(io.BytesIO(data), tensors).load()
    if not isinstance(module, nn.Module):
        raise NetworkError(f"the pickled network is a {type(module).__name__}, not an nn.Module")
    return module


class _Pickler(TorchPickler):
    def __init__(self, buffer: io.BytesIO, tensors: MutableMapping[str, torch.Tensor]) -> None:
        super().__init__(buffer)
        self._tensors = tensors
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._alive: list[torch.Tensor] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, torch.Tensor) or type(obj) not in (torch.Tensor, nn.Parameter):
            return None
        name = self._names.get(id(obj))
        if name is None:
            name = f"{UNNAMED}{len(self._tensors)}"
            self._names[id(obj)] = name
            self._tensors[name] = obj
            # An id is only good while its object lives.
            self._alive.append(obj)
        return name, isinstance(obj, nn.Parameter), obj.requires_grad and obj.is_leaf


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(buffer)
        self._tensors = tensors
        self._made: dict[str, torch.Tensor] = {}

    def persistent_load(self, pid: Any) -> torch.Tensor:
        name, is_parameter, grad = pid
        if name not in self._made:
            tensor = self._tensors[name]
            self._made[name] = nn.Parameter(tensor, grad) if is_parameter else tensor.requires_grad_(grad)
        return self._made[name]
