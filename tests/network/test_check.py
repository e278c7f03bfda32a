"""A forward pass on the driver says whether network and data fit, and leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network import check
from sparkdl.network.check import layer_shapes
from sparkdl.schema import ARRAY, IMAGE, INPUT, SCALAR, DataSchema, Field


def schema(*fields: tuple[str, str, tuple[int, ...]]) -> DataSchema:
    return DataSchema(tuple(Field(f"x{i}", INPUT, k, (f"x{i}",), d, s) for i, (k, d, s) in enumerate(fields)))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1, 3)
        self.unused = nn.Linear(1, 1)
        self.seen = 0

    def forward(self, index: torch.Tensor, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += 1
        return {"a": self.table(index).sum(1), "b": torch.dropout(image.mean((1, 2, 3)), 0.5, True)}


def test_shapes_of_several_outputs() -> None:
    data = schema((SCALAR, "int64", (1,)), (IMAGE, "float32", (3, 8, 9)))
    network = Two()
    state = torch.get_rng_state()
    assert check(network, data) == ((3,), ())
    assert network.seen == 0
    assert torch.equal(state, torch.get_rng_state())


def test_statistics_and_modes_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).train()
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert check(network, schema((ARRAY, "float32", (4,)))) == ((2,),)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert (network.training, network[1].training) == (True, False)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Linear(5, 1), r"Linear does not take its input x0 \(rows, 4\) float32: RuntimeError: mat1 and mat2"),
        (nn.Embedding(3, 2), r"x0 \(rows, 4\) float32: .*(indices|tensor)"),
        (type("Sum", (nn.Module,), {"forward": lambda self, x: x.sum()})(), r"shape \(\) for 2 rows"),
        (type("Text", (nn.Module,), {"forward": lambda self, x: "no"})(), "returns str, not a tensor"),
        (nn.LSTM(4, 2), "returns tuple, not a tensor or a tuple, list or dict of tensors"),
    ],
)
def test_misfits_are_sentences(network: nn.Module, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        check(network, schema((ARRAY, "float32", (4,))))


def test_inner_layers() -> None:
    data = schema((ARRAY, "float32", (4,)))
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    assert layer_shapes(network, data, ["0", "1"]) == {"0": (3,), "1": (3,)}
    with pytest.raises(NetworkError, match="outputLayers names 'body', the layers of this network are: 0, 1, 2"):
        layer_shapes(network, data, ["body"])
    both: Any = schema((SCALAR, "int64", (1,)), (IMAGE, "float32", (3, 8, 9)))
    with pytest.raises(NetworkError, match="'unused', which is not called"):
        layer_shapes(Two(), both, ["unused"])
