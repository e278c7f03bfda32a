"""Whether networks compute, and train, the same with their channels last in memory."""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from sparkdl.network.channels_last import prefers_channels_last, trains_channels_last
from sparkdl.nn.convolution import CNN
from sparkdl.schema import DataSchema, Field
from sparkdl.scoring.scorer import Scorer, ScorerSettings
from sparkdl.train.precision import Precision

CPU = torch.device("cpu")
IMAGES = DataSchema((Field("image", "input", "image", ("image",), "float32", (3, 8, 8)),))


class Views(nn.Module):
    """Flattens by `view`, which needs its rows one after the other in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.layer = nn.Linear(4 * 8 * 8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.conv(x).view(len(x), -1))


class LooksAtStrides(nn.Module):
    """Computes something else where the channels come last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((1, 2, 3)) + (1.0 if x.stride(1) == 1 else 0.0)


class Volumes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.deep = nn.Conv2d(3, 2, 1), nn.Conv3d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.deep(self.flat(x).unsqueeze(1)).flatten(1)


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (CNN((3, 8, 8), 2), True),
        (Views(), False),
        (LooksAtStrides(), False),
        (Volumes(), False),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_images_change_their_layout_only_where_the_network_stays_the_same(network: nn.Module, wanted: bool) -> None:
    network.eval()
    rows = torch.rand(37, 3, 8, 8)
    with torch.no_grad():
        expected = network(rows)
        assert prefers_channels_last(network, [rows[:2]]) is wanted
        for parameter in network.parameters():
            if parameter.dim() == 4 and not wanted:
                assert parameter.is_contiguous()
        got = Scorer(network, ScorerSettings())([rows])[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_network_that_makes_images_of_its_rows_takes_them_last_too() -> None:
    network = CNN((1, 8, 8), 2).eval()
    with torch.no_grad():
        assert prefers_channels_last(network, [torch.rand(2, 64)])
    assert network.convolutions[3].weight.is_contiguous(memory_format=torch.channels_last)


class OnlyInTraining(Views):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.training else self.layer(self.conv(x).flatten(1))


class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * (2 if gradient.is_contiguous() else 3)


class WrongGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(_Wrong.apply(self.conv(x))).mean((2, 3))


class Chance(nn.Module):
    """Draws from every generator, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.training:
            random.random(), np.random.rand()
        return self.drop(self.norm(self.conv(x))).mean((2, 3))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (CNN((3, 8, 8), 2), True),
        (Chance(), True),
        (Views(), False),
        (LooksAtStrides(), False),
        (OnlyInTraining(), False),
        (WrongGradient(), False),
        (Volumes(), False),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_training_is_tried_and_leaves_no_trace(network: nn.Module, wanted: bool, precision: str) -> None:
    before = copy.deepcopy(network)
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    found = trains_channels_last(network, IMAGES, CPU, Precision(precision, CPU).autocast)
    assert found is wanted
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert (np.random.get_state()[1] == numpy_state).all()
    assert getattr(network, "calls", 0) == 0
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
        assert tensor.is_contiguous()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_error_while_it_is_tried_is_no_error_of_the_training() -> None:
    class Refuses(CNN):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise ValueError("rows of random numbers are no images of mine")

    assert not trains_channels_last(Refuses((3, 8, 8), 2), IMAGES, CPU, nullcontext)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_deep_networks_keep_within_the_tolerance_of_their_precision(precision: str) -> None:
    torch.manual_seed(3)
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(24)]
    network = nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    assert trains_channels_last(network, IMAGES, CPU, Precision(precision, CPU).autocast)
