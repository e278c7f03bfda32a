"""Tensors of every dtype and layout pass through both transports."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparkdl.comm.wire import repeats, same
from sparkdl.train.weights import broadcast_state

pytestmark = pytest.mark.filterwarnings("ignore:Sparse|.*quantize|ComplexHalf|TypedStorage")

_DTYPES = [
    dtype
    for dtype in vars(torch).values()
    # Those of bits, of four bits and of quantized numbers have no numbers to make a tensor from.
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits", "torch.float4"))
    if not any(str(dtype) == f"torch.{sign}int{bits}" for sign in ("u", "") for bits in range(1, 8))
]
_LAYOUTS = {
    "dense": lambda t: t,
    "transposed": lambda t: t.t(),
    "strided": lambda t: torch.stack((t, t), 1)[:, 0],
    "expanded": lambda t: t[:1].expand(3, 3),
    "one": lambda t: t[0, 0],
    "empty": lambda t: t[:0],
    "conjugate": lambda t: t.conj(),
    "coo": torch.Tensor.to_sparse,
    "csr": torch.Tensor.to_sparse_csr,
    "csc": torch.Tensor.to_sparse_csc,
    "bsr": lambda t: t.to_sparse_bsr((1, 1)),
    "quantized": lambda t: torch.quantize_per_tensor(t, 0.5, 0, torch.quint8),
}


def tensors(rank: int) -> dict[str, torch.Tensor]:
    """Return a tensor for each dtype and layout that torch has; other numbers, and another count, on each rank."""
    made = {}
    numbers = torch.tensor([[0, 1, 0], [1, rank, 1 - rank]], dtype=torch.float32)
    for dtype in _DTYPES:
        for name, layout in _LAYOUTS.items():
            try:
                made[f"{dtype} {name}"] = layout(numbers.to(dtype))
            except RuntimeError:
                assert dtype not in (torch.float32, torch.float64) or (dtype, name) == (torch.float64, "quantized")
    return made


class Held(nn.Module):
    def __init__(self, rank: int) -> None:
        super().__init__()
        for index, tensor in enumerate(tensors(rank).values()):
            self.register_buffer(f"held{index}", tensor)
            if tensor.layout == torch.strided and not tensor.is_quantized:
                self.register_parameter(f"own{index}", nn.Parameter(tensor.clone(), requires_grad=False))


def _alike(one, other):
    return (one.layout, one.dtype) == (other.layout, other.dtype) and same(one, other)


def _broadcast(backend):
    mine = tensors(backend.rank)
    for tensor in mine.values():
        backend.broadcast(tensor, root=1)
    state = Held(backend.rank)
    broadcast_state(state, backend)
    wanted = (tensors(1), dict(Held(0).state_dict()))
    return {
        f"{way} {name}": _alike(tensor, sent[name])
        for way, got, sent in zip(("one", "state"), (mine, state.state_dict()), wanted, strict=True)
        for name, tensor in got.items()
    }


def test_every_kind_of_tensor_is_broadcast(ranks):
    for found in ranks.run(_broadcast):
        assert len(found) > 300
        assert {name for name, alike in found.items() if not alike} == set()


def test_the_kinds_are_those_of_torch():
    names = {str(dtype) for dtype in _DTYPES}
    assert {"torch.bool", "torch.uint16", "torch.bfloat16", "torch.complex32", "torch.float8_e4m3fn"} <= names


@pytest.mark.parametrize(("tensor", "expected"), [(torch.ones(1, 3).expand(2, 3), True), (torch.ones(2, 3).t(), False)])
def test_repeated_numbers(tensor, expected):
    assert repeats(tensor) is expected
