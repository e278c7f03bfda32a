"""From a name, a class, a function or an instance to a network."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError, SettingError
from sparkdl.network import register, resolve
from sparkdl.network.resolve import CLASS, NAME, STRUCTURE
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field

SCHEMA = DataSchema(
    (Field("x", INPUT, ARRAY, ("x",), "float32", (4,)), Field("y", LABEL, SCALAR, ("y",), "float32", (1,)))
)


class Net(nn.Linear):
    def __init__(self, width: int = 2) -> None:
        super().__init__(4, width)


def noisy(scale: float = 1.0) -> nn.Module:
    module = nn.Linear(4, 1)
    module.bias.data.fill_(float(np.random.rand()) + random.random() + scale)
    return module


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(a.state_dict()[name], tensor) for name, tensor in b.state_dict().items())


@pytest.mark.parametrize(("module", "params"), [("mlp", {"hidden": [5]}), (Net, {"width": 3}), (noisy, {"scale": 2.0})])
def test_same_seed_same_weights_and_no_trace_in_the_process(module: Any, params: dict[str, Any]) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first, again = (resolve(module, params, SCHEMA, 2, seed=7).module for _ in range(2))
    other = resolve(module, params, SCHEMA, 2, seed=8).module
    assert same_weights(first, again)
    assert not same_weights(first, other)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_name_takes_its_sizes_from_the_data_and_the_callers_win() -> None:
    made = resolve("mlp", {"hidden": [5]}, SCHEMA, 3)
    assert made.reference.kind == NAME
    assert made.module(torch.zeros(2, 4)).shape == (2, 3)
    assert resolve("mlp", {"outputs": 7}, SCHEMA, 3).module(torch.zeros(1, 4)).shape == (1, 7)


def test_instance_is_copied_with_its_weights() -> None:
    own = Net()
    made = resolve(own, {}, SCHEMA)
    assert made.reference.kind == STRUCTURE
    assert same_weights(made.module, own)
    made.module.weight.data.zero_()
    assert own.weight.abs().sum() > 0


def test_class_and_parameters_without_json_form() -> None:
    assert resolve(Net, {"width": 5}, SCHEMA).reference.kind == CLASS
    assert resolve(nn.Sequential, {}, DataSchema(())).reference.kind == CLASS

    class Local(Net):
        pass

    assert resolve(Local, {}, SCHEMA).reference.kind == STRUCTURE


def test_lazy_layers_get_the_same_weights_for_the_same_seed() -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())

    first, again = (resolve(lazy, {}, SCHEMA, seed=1).module for _ in range(2))
    assert same_weights(first, again)
    assert first[1].num_batches_tracked == 0
    assert first.training


@pytest.mark.parametrize(
    ("module", "params", "error", "words"),
    [
        ("resnet", {}, SettingError, r"module='resnet' is no network of sparkdl.nn: give one of cnn, mlp"),
        (Net(), {"width": 3}, SettingError, "moduleParams=.* has no effect on an nn.Module"),
        (Net, {"wdith": 3}, NetworkError, "moduleParams=.*'wdith': 3.* raised TypeError"),
        (lambda: 3, {}, NetworkError, "returned int: it must return an nn.Module"),
        (dict, {}, SettingError, "neither a name in sparkdl.nn nor an nn.Module"),
        (3, {}, SettingError, "neither a name in sparkdl.nn nor an nn.Module"),
    ],
)
def test_refusals(module: Any, params: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        resolve(module, params, SCHEMA, 1)


@pytest.mark.parametrize("value", [Net(), dict, lambda x: x, 3])
def test_only_networks_and_named_functions_can_be_registered(value: Any) -> None:
    with pytest.raises(SettingError, match=r"only named functions and subclasses of nn\.Module"):
        register(value)
