"""Layers whose weights are computed: sent, saved, loaded without trust, trained further."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from sparkdl.comm.torch_pickle import dumps
from sparkdl.errors import NetworkError
from sparkdl.network import Reference, describe, restore
from sparkdl.network.copies import copied
from sparkdl.network.resolve import STRUCTURE
from sparkdl.schema import DataSchema

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")


class Symmetric(nn.Module):
    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix.triu() + matrix.triu(1).T


def symmetric(layer: nn.Module) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", Symmetric())


def restored(module: nn.Module) -> nn.Module:
    described = describe(module, Reference(STRUCTURE))
    assert not described.pickle_only
    body = json.loads(json.dumps(described.json, allow_nan=False))
    return restore(body, {name: tensor.clone() for name, tensor in described.tensors.items()}, DataSchema(())).module


NORMS: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "cayley": lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley"),
    "two": lambda layer: parametrizations.weight_norm(parametrizations.spectral_norm(layer), "bias"),
    "own": symmetric,
    "older weight_norm": weight_norm,
    "older spectral_norm": spectral_norm,
    "older two": lambda layer: weight_norm(spectral_norm(layer), "bias"),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_a_computed_weight_goes_everywhere(norm: Callable[[nn.Module], Any]) -> None:
    module = nn.Sequential(norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 1))
    rows = torch.randn(5, 4)
    module(rows).sum().backward()
    module.eval()
    expected = module(rows)
    for twin in (copied(module), pickle.loads(dumps(copied(module))), restored(module), restored(copied(module))):
        assert torch.equal(twin(rows), expected)
        assert list(twin.state_dict()) == list(module.state_dict())
        torch.testing.assert_close(twin[0].weight, module[0].weight)
        # It learns on: a step changes what is computed.
        twin.train()
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
        twin(rows).square().sum().backward()
        optimizer.step()
        assert not torch.equal(twin(rows), expected)
    assert torch.equal(module.eval()(rows), expected)


@pytest.mark.parametrize(
    ("norm", "change", "said"),
    [
        (weight_norm, {"norms": [{"kind": "WeightNorm", "name": "forward", "dim": 0}]}, "'forward' .* is refused"),
        (weight_norm, {"norms": [{"kind": "WeightNorm", "name": "bias", "dim": 0}]}, "'bias' .* is refused"),
        (weight_norm, {"norms": [{"kind": "WeightNorm", "name": "kernel", "dim": 0}]}, "'kernel' .* lacks a tensor"),
        (weight_norm, {"norms": [{"kind": "WeightNorm", "name": "weight", "dim": "0"}]}, "is damaged"),
        (weight_norm, {"norms": [{"kind": "WeightNorm", "name": "weight", "dim": 0, "apply": 1}]}, "is damaged"),
        (spectral_norm, {"norms": [{"kind": "Popen", "name": "weight"}]}, "is damaged"),
    ],
)
def test_what_a_file_may_say_of_norms(norm: Callable[[nn.Module], Any], change: dict[str, Any], said: str) -> None:
    described = describe(norm(nn.Linear(3, 2)), Reference(STRUCTURE))
    structure = {**described.json["structure"], **change}
    with pytest.raises(NetworkError, match=said):
        restore({"kind": STRUCTURE, "structure": structure}, described.tensors, DataSchema(()))


def test_a_file_names_no_method_as_a_parametrization() -> None:
    described = describe(parametrizations.spectral_norm(nn.Linear(3, 2)), Reference(STRUCTURE))
    text = json.dumps(described.json).replace('["weight", {"$": "layer"', '["forward", {"$": "layer"')
    with pytest.raises(NetworkError, match="forward"):
        restore(json.loads(text), described.tensors, DataSchema(()))


def test_parametrizations_are_those_of_torch() -> None:
    described = describe(parametrizations.spectral_norm(nn.Linear(3, 2)), Reference(STRUCTURE))
    text = json.dumps(described.json).replace(
        "torch.nn.utils.parametrize:Parametr", "torch.nn.modules.container:Module"
    )
    text = text.replace("container:ModuleizationList", "container:ModuleList")
    with pytest.raises(NetworkError, match="the parametrizations of a layer of .*Linear are damaged"):
        restore(json.loads(text), described.tensors, DataSchema(()))


def test_nothing_is_said_of_the_newer_ones() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe(parametrizations.weight_norm(nn.Linear(3, 2)), Reference(STRUCTURE))
