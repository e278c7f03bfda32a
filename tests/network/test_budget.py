"""A constructor that is called with numbers of a file takes no more memory than the weights there allow."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network import describe, register, resolve, restore
from sparkdl.network.budget import Budget, BudgetError
from sparkdl.schema import ARRAY, IMAGE, INPUT, DataSchema, Field

ROOT = Path(__file__).resolve().parent.parent.parent


def schema(*shape: int, kind: str = ARRAY) -> DataSchema:
    return DataSchema((Field("x", INPUT, kind, ("x",), "float32", shape),))


class Lazy(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LazyConv2d(width, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class LazyByValues(Lazy):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum().item() >= 0 else x


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(3, 10**10),
        lambda: nn.Linear(10**5, 10**5),
        lambda: nn.Embedding(10**9, 8),
        lambda: nn.LSTM(3, 10**6),
        lambda: nn.Transformer(num_encoder_layers=10**9),
        lambda: nn.BatchNorm1d(10**12),
        lambda: nn.ModuleList(nn.PReLU() for _ in range(10**9)),
        lambda: nn.ModuleList(copy.deepcopy(nn.PReLU()) for _ in range(10**9)),
        lambda: torch.eye(10**6),
        lambda: torch.arange(10**12),
        lambda: torch.randperm(10**10),
        lambda: nn.init.ones_(nn.Parameter(torch.Tensor(10**8))),
        lambda: torch.ones(10, 10**6).repeat(10, 1),
    ],
)
def test_what_would_fill_the_memory_is_refused(make: Callable[[], Any]) -> None:
    with (
        pytest.raises(BudgetError, match=r"its layers would take more than the [\d,]+ bytes that its weights"),
        Budget(()),
    ):
        make()


def test_constructors_do_what_they_do_without_it() -> None:
    def make() -> list[torch.Tensor]:
        torch.manual_seed(3)
        layers = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2), nn.Transformer(8, 2, 1, 1, 8), nn.BatchNorm1d(3))
        more = [torch.rand(3, generator=torch.Generator().manual_seed(1)), torch.zeros(2, pin_memory=False)]
        more += [nn.init.orthogonal_(torch.empty(4, 4)), torch.zeros(2, out=torch.empty(2)), torch.full((2,), 3)]
        return [*layers.state_dict().values(), *more, torch.rand(2)]

    expected = make()
    with Budget(()):
        got = make()
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_large_weights_allow_a_large_network() -> None:
    weights = [torch.empty(10**7)] * 4
    with Budget(weights):
        nn.Linear(10**4, 10**4)
    with pytest.raises(BudgetError), Budget(weights[:1]):
        nn.Linear(10**4, 10**4)


def test_budgets_import_no_compiler() -> None:
    program = (
        "import sys; from torch import nn; from sparkdl.network.budget import Budget\n"
        "with Budget(()): nn.Linear(2, 3)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=300, check=True)


@pytest.mark.parametrize("hidden", [[10**9], [10**5, 10**5], [10**4] * 100])
def test_a_named_network_that_is_larger_than_its_weights(hidden: list[int]) -> None:
    made = resolve("mlp", {"hidden": [3]}, schema(4), 2)
    described = describe(made.module, made.reference)
    described.json["params"]["hidden"] = hidden
    with pytest.raises(NetworkError, match="the memory|of mlp is not in the file|has changed since it was saved"):
        restore(described.json, described.tensors, schema(4))


@pytest.mark.parametrize("cls", [Lazy, LazyByValues])
def test_lazy_layers(cls: type[nn.Module]) -> None:
    register(cls)
    small = schema(3, 8, 8, kind=IMAGE)
    made = resolve(cls, {"width": 5}, small)
    described = describe(made.module, made.reference)
    back = restore(described.json, described.tensors, small).module
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(back(x), made.module(x), rtol=0, atol=0)
    wide = schema(3, 30_000, 20_000, kind=IMAGE)
    with pytest.raises(NetworkError, match="its layers would take more than"):
        restore(described.json, described.tensors, wide)


def test_outputs_of_lazy_layers_are_counted_before_they_are_made() -> None:
    made = resolve(Lazy, {"width": 100_000}, schema(1, 1, 1, kind=IMAGE))
    described = describe(made.module, made.reference)
    with pytest.raises(BudgetError):
        restore(described.json, described.tensors, schema(1, 1000, 1000, kind=IMAGE))


def test_a_lazy_layer_whose_sizes_take_forever_to_compute_is_refused() -> None:
    params = {"out_channels": 1, "kernel_size": 3_000_000, "padding": 3_000_000}
    call = {"kind": "class", "name": "torch.nn.modules.conv:LazyConv1d", "params": params, "frozen": []}
    weights = {"weight": torch.zeros(1), "bias": torch.zeros(1)}
    with pytest.raises(BudgetError, match="follow from a computation of .* operations, 1e\\+12 are allowed"):
        restore(call, weights, schema(1, 2))
