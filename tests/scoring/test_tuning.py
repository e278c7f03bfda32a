"""Rows at once, found out on the first rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparkdl.nn.convolution import CNN
from sparkdl.scoring.tuning import _fitting, rows_at_once


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


@pytest.mark.parametrize(
    ("widest", "given", "free", "expected"),
    [
        (512 * 4, 200, 80 << 30, 65_536),
        (64 * 112 * 112 * 4, 3 * 224 * 224 * 4, 80 << 30, 334),
        (64 * 112 * 112 * 4, 3 * 224 * 224 * 4, 8 << 30, 83),
        (1 << 20, 1 << 20, 80 << 30, 256),
        (1 << 30, 8, 1 << 30, 16),
    ],
    ids=["narrow", "images", "little memory left", "large rows", "huge layers"],
)
def test_rows_at_once_on_a_gpu_follow_the_memory_that_is_left(
    widest: int, given: int, free: int, expected: int
) -> None:
    assert _fitting(widest, given, free) == expected
