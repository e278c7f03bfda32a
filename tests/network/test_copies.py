from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.wire import same
from sparkdl.errors import NetworkError
from sparkdl.network.copies import apart, copied


class Uncopied:
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ValueError("not today\nnor tomorrow")


def network(name: str, value: Any) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    setattr(module[1][0], name, value)
    return module


def test_a_copy_is_apart() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    twin = copied(module)
    assert torch.equal(twin[0].weight, module[0].weight)  # type: ignore[index]
    assert twin[0].weight is not module[0].weight  # type: ignore[index]
    assert not twin.training


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (threading.Lock(), r"'1.0.part' is a _thread.lock \(TypeError: .*\): make it in forward"),
        (torch.ones(2, requires_grad=True) * 2, "'1.0.part' is a tensor that was computed from others .*detach"),
        ([1, {"a": Uncopied()}], r"'1.0.part' is a list \(ValueError: not today\): make it in forward"),
    ],
)
def test_what_cannot_be_copied_is_named(value: Any, sentence: str) -> None:
    with pytest.raises(
        NetworkError, match="the network Sequential cannot be copied, because its attribute " + sentence
    ) as error:
        copied(network("part", value))
    assert "\n" not in str(error.value)


def test_a_network_that_refuses_as_a_whole() -> None:
    class Whole(nn.Module):
        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            raise RuntimeError("one of a kind")

    with pytest.raises(NetworkError, match=r"Whole cannot be copied \(RuntimeError: one of a kind\), and every rank"):
        copied(Whole())


@pytest.mark.filterwarnings("ignore:Sparse|.*quantize|TypedStorage")
def test_tensors_of_every_layout_have_numbers_of_their_own() -> None:
    matrix = torch.eye(3)
    held = {
        "repeated": matrix[:1].expand(3, 3),
        "conjugate": (matrix + 1j).conj(),
        "coo": matrix.to_sparse(),
        "csr": matrix.to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(matrix, 0.5, 0, torch.quint8),
    }
    module = nn.Linear(3, 3)
    for name, tensor in held.items():
        module.register_buffer(name, tensor)
    for twin in (copied(module), apart(module)):
        for name, tensor in held.items():
            got = getattr(twin, name)
            assert (got.dtype, got.layout) == (tensor.dtype, tensor.layout)
            assert same(got, tensor)
        assert twin.repeated.is_contiguous()
        twin.load_state_dict(module.state_dict())
    assert apart(plain := nn.Linear(2, 2)) is plain


@pytest.mark.filterwarnings("ignore:Sparse|.*nested")
@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (nn.Parameter(torch.eye(2).to_sparse()), "the parameter 'held' of Linear is sparse_coo, .*: make it a buffer"),
        (torch.ones(2).to_mkldnn(), "the buffer 'held' of Linear is _mkldnn, .*: make it dense"),
        (torch.nested.nested_tensor([torch.ones(2)]), "the buffer 'held' of Linear is nested, .*: make it dense"),
    ],
)
def test_tensors_that_no_rank_takes_are_refused(tensor: torch.Tensor, sentence: str) -> None:
    module = nn.Linear(2, 2)
    if isinstance(tensor, nn.Parameter):
        module.register_parameter("held", tensor)
    else:
        module.register_buffer("held", tensor)
    with pytest.raises(NetworkError, match=sentence):
        copied(module)
