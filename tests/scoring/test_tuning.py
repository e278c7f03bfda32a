"""Rows at once and the layout of images, found out on the first rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparkdl.nn.convolution import CNN
from sparkdl.scoring.scorer import Scorer, ScorerSettings
from sparkdl.scoring.tuning import prefers_channels_last, rows_at_once


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


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (nn.Linear(50, 64), (50,), 8192),
        (nn.Sequential(nn.Linear(50, 512), nn.Linear(512, 1)), (50,), 1024),
        (CNN((3, 64, 64), 2), (3, 64, 64), 16),
        (nn.Identity(), (1 << 20,), 16),
    ],
)
def test_rows_at_once_follow_the_widest_layer(network: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert rows_at_once(network.eval(), [torch.zeros(2, *shape)]) == expected
    assert not any(layer._forward_hooks for layer in network.modules())
