"""Tensors of every dtype and layout as bytes: transports know few kinds of numbers, and all of them bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sparkdl.comm.backend import Backend


_ROWS = (Tensor.crow_indices, Tensor.col_indices, Tensor.values)
_COLUMNS = (Tensor.ccol_indices, Tensor.row_indices, Tensor.values)
_PARTS: dict[torch.layout, tuple[Callable[[Tensor], Tensor], ...]] = {
    torch.strided: (Tensor.detach,),
    torch.sparse_coo: (Tensor._indices, Tensor._values),
    torch.sparse_csr: _ROWS,
    torch.sparse_bsr: _ROWS,
    torch.sparse_csc: _COLUMNS,
    torch.sparse_bsc: _COLUMNS,
}


def is_dense(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor are all there is to it: it is neither sparse nor quantized."""
    return tensor.layout == torch.strided and not tensor.is_quantized


def bytes_of(tensor: Tensor) -> Tensor:
    """Return the numbers of a dense tensor as (bytes,) uint8, in its own memory where that lies in order."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    return plain.contiguous().reshape(-1).view(torch.uint8)


@torch.no_grad()
def fill(tensor: Tensor, data: Tensor) -> None:
    """Give a dense tensor the numbers that `bytes_of` has returned for one of its shape and dtype."""
    value = data.clone().view(tensor.dtype).view(tensor.shape)
    if repeats(tensor):
        tensor.data = value
    else:
        tensor.detach().copy_(value)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape, dtype and layout hold the same numbers, bit for bit."""
    pairs = zip(parts_of(one), parts_of(other), strict=True)
    return all(a.shape == b.shape and torch.equal(bytes_of(a), bytes_of(b)) for a, b in pairs)


def parts_of(tensor: Tensor) -> list[Tensor]:
    """Return the dense tensors of which a tensor consists: of a sparse one its indices and values."""
    if tensor.is_quantized:
        return [tensor.int_repr()]
    return [part(tensor) for part in _PARTS.get(tensor.layout, (Tensor.detach,))]


def size_of(tensor: Tensor) -> int:
    """Return the bytes of all that a tensor consists of."""
    return sum(part.numel() * part.element_size() for part in parts_of(tensor))


def repeats(tensor: Tensor) -> bool:
    """Whether a dense tensor has one number in several places (``expand``), so that nothing can be written to it."""
    return any(length > 1 and not step for length, step in zip(tensor.shape, tensor.stride(), strict=True))


@torch.no_grad()
def broadcast(tensor: Tensor, backend: Backend, root: int) -> None:
    """Replace a tensor by that of rank `root`, as `Backend.broadcast` says it. Collective."""
    if not is_dense(tensor):
        _broadcast_saved(tensor, backend, root)
    elif tensor.numel():
        data = bytes_of(tensor)
        backend.broadcast_bytes(data, root)
        if data.data_ptr() != tensor.data_ptr() or tensor.is_conj() or tensor.is_neg():
            fill(tensor, data)


def _broadcast_saved(tensor: Tensor, backend: Backend, root: int) -> None:
    """Send all that a tensor consists of: a sparse one may have more numbers on one rank than on another."""
    buffer = io.BytesIO()
    if backend.rank == root:
        torch.save(tensor.detach().cpu(), buffer)
    length = torch.tensor([len(buffer.getvalue())], dtype=torch.int64, device=tensor.device)
    backend.broadcast_bytes(length.view(torch.uint8), root)
    data = torch.zeros(int(length), dtype=torch.uint8, device=tensor.device)
    if backend.rank == root:
        data.copy_(torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8))
    backend.broadcast_bytes(data, root)
    if backend.rank != root:
        saved = io.BytesIO(data.cpu().numpy().tobytes())
        _replace(tensor, torch.load(saved, weights_only=True).to(tensor.device))


def _replace(tensor: Tensor, value: Tensor) -> None:
    if tensor.layout in (torch.strided, torch.sparse_coo):
        tensor.data = value
    else:
        # By `data` the indices would stay as they are.
        tensor.detach().resize_as_sparse_(value).copy_(value)
