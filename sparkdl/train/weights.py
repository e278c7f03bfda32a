"""A module's parameters and buffers: copies on the CPU, and the same on every rank."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparkdl.comm.backend import Backend


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the module's state on the CPU."""
    state = module.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items() if isinstance(value, Tensor)}


@torch.no_grad()
def broadcast_state(module: nn.Module, backend: Backend) -> None:
    """Give all ranks rank 0's parameters and buffers, by one broadcast of their bytes."""
    tensors = [*module.parameters(), *module.buffers()]
    if backend.size == 1 or not tensors:
        return
    flat = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in tensors]
    wire = torch.cat(flat)
    backend.broadcast(wire)
    for tensor, part in zip(tensors, wire.split([len(f) for f in flat]), strict=True):
        tensor.copy_(part.clone().view(tensor.dtype).view(tensor.shape))
