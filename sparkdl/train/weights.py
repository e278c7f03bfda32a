"""A module's parameters, buffers and plain tensors: copies on the CPU, put back, and the same on every rank."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparkdl.comm.backend import Backend
from sparkdl.comm.wire import bytes_of, fill, is_dense, repeats, same

Marks = Mapping[str, tuple[Tensor, int]]
"""Tensors that `state_dict` leaves out, as they were at some time: each with its version then."""


def weights_of(module: nn.Module, since: Marks | None = None) -> dict[str, Tensor]:
    """Return a copy of the module's state on the CPU: all of it, or without what has not changed since.

    Parameters
    ----------
    module : nn.Module
    since : mapping, optional
        What `marks` has returned; tensors that `state_dict` leaves out are returned only where they have changed.
    """
    state = module.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    beside = beside_state(module) if since is None else changed_beside_state(module, since)
    return {name: _kept(value.detach()) for name, value in {**tensors, **beside}.items()}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module what `weights_of` has returned of one like it. Extra state that is no tensor stays as it is.

    Raises
    ------
    RuntimeError, AttributeError
        They are those of another network.
    """
    own = module.state_dict().keys()
    missing = [name for name in own if name not in weights and not name.endswith("_extra_state")]
    if missing:
        raise RuntimeError(f"there is no {missing[0]!r} among the weights")
    module.load_state_dict({name: value for name, value in weights.items() if name in own}, strict=False)
    load_beside_state(module, {name: value for name, value in weights.items() if name not in own})


def load_beside_state(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module tensors of those that `state_dict` leaves out."""
    for name, value in tensors.items():
        _put(module, name, value)


def beside_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that `state_dict` leaves out: buffers that are not persistent, and plain attributes, by name.

    Those that belong to a graph are what a forward pass has kept of itself, and no part of the network.
    """
    found: dict[str, Tensor] = {}
    for path, layer in module.named_modules():
        buffers = {name: layer._buffers[name] for name in layer._non_persistent_buffers_set if name in layer._buffers}
        for name, value in {**buffers, **vars(layer)}.items():
            if isinstance(value, Tensor) and value.is_leaf and value.layout == torch.strided and not value.is_quantized:
                found[f"{path}.{name}" if path else name] = value
    return found


def marks(module: nn.Module) -> Marks:
    """Return what tells later which of the tensors that `state_dict` leaves out have changed."""
    return {name: (value, value._version) for name, value in beside_state(module).items()}


def changed_beside_state(module: nn.Module, since: Marks) -> dict[str, Tensor]:
    """Return the tensors that `state_dict` leaves out, and that are others or hold others than then."""
    changed: dict[str, Tensor] = {}
    for name, value in beside_state(module).items():
        before, version = since.get(name, (None, -1))
        if before is not value or version != value._version:
            changed[name] = value
    return changed


@torch.no_grad()
def broadcast_state(module: nn.Module, backend: Backend) -> None:
    """Give all ranks rank 0's parameters and buffers: those that are dense by one broadcast of their bytes."""
    if backend.size == 1:
        return
    tensors = [*module.parameters(), *module.buffers()]
    dense = [tensor for tensor in tensors if is_dense(tensor)]
    flat = [bytes_of(tensor) for tensor in dense]
    if any(len(part) for part in flat):
        wire = torch.cat(flat)
        backend.broadcast_bytes(wire)
        for tensor, part in zip(dense, wire.split([len(part) for part in flat]), strict=True):
            fill(tensor, part)
    for tensor in tensors:
        if not is_dense(tensor):
            backend.broadcast(tensor)


def _kept(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU; how a tensor lies in memory while it is trained is no part of it."""
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format if dense else torch.preserve_format)


@torch.no_grad()
def _put(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    layer = module.get_submodule(path)
    present = getattr(layer, attribute, None)
    if not isinstance(present, Tensor):
        setattr(layer, attribute, value)
    elif present.shape == value.shape and present.dtype == value.dtype and not repeats(present):
        # Others may hold the same tensor. One that holds these numbers already has not changed.
        if not same(present, value.to(present.device)):
            present.copy_(value)
    else:
        setattr(layer, attribute, value.to(present.device))
