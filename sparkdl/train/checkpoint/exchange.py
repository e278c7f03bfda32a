"""State that travels between ranks: that of rank 0 to all, that of each to rank 0."""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch import Tensor

from sparkdl.comm.backend import Backend
from sparkdl.train.checkpoint.tensor_file import read_tensors, write_tensors
from sparkdl.train.checkpoint.tree import flatten, unflatten


def share(value: Any, backend: Backend, device: torch.device) -> Any:
    """Return rank 0's value, on every rank, its tensors on the CPU. Collective; what others give is left out.

    Tensors travel one by one, so that a rank holds no more than the state itself.
    """
    if backend.size == 1:
        return value
    skeleton, tensors = flatten(value, "state") if backend.rank == 0 else (None, {})
    specs = [[name, str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()]
    text = _from_root(json.dumps([skeleton, specs]).encode(), 0, backend, device)
    skeleton, specs = json.loads(text)
    received: dict[str, Tensor] = {}
    for name, dtype, shape in specs:
        tensor = tensors.get(name)
        if tensor is None:
            tensor = torch.empty(shape, dtype=getattr(torch, dtype))
        tensor = tensor.to("cpu").contiguous()
        if tensor.numel():
            data = tensor.reshape(-1).view(torch.uint8)
            wire = data.to(device)
            backend.broadcast(wire)
            if backend.rank:
                data.copy_(wire)
        received[name] = tensor
    return value if backend.rank == 0 else unflatten(skeleton, received)


def gather(value: Any, backend: Backend, device: torch.device) -> list[Any]:
    """Return on rank 0 the values of all ranks in their order, on others nothing. Collective."""
    if backend.size == 1:
        return [value]
    skeleton, tensors = flatten(value, "state")
    stream = io.BytesIO()
    _, crc = write_tensors(stream, {name: tensor.to("cpu") for name, tensor in tensors.items()})
    head = json.dumps([skeleton, crc]).encode()
    mine = len(head).to_bytes(8, "little") + head + stream.getvalue()
    found = []
    for root in range(backend.size):
        data = _from_root(mine, root, backend, device)
        if backend.rank == 0:
            length = int.from_bytes(data[:8], "little")
            skeleton, crc = json.loads(data[8 : 8 + length])
            rest = data[8 + length :]
            found.append(unflatten(skeleton, read_tensors(io.BytesIO(rest), len(rest), crc)))
    return found


def _from_root(data: bytes, root: int, backend: Backend, device: torch.device) -> bytes:
    """Return the bytes of one rank on all of them; what the others give is left out."""
    length = torch.tensor([len(data) if backend.rank == root else 0], dtype=torch.int64, device=device)
    backend.broadcast(length, root)
    if backend.rank == root:
        wire = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device)
    else:
        wire = torch.empty(int(length), dtype=torch.uint8, device=device)
    if int(length):
        backend.broadcast(wire, root)
    return data if backend.rank == root else wire.cpu().numpy().tobytes()
