"""A small network, its rows, and a backend of one rank, for tests of the loop."""

from __future__ import annotations

import torch
from torch import nn

from sparkdl.comm import open_backend

SOLO = open_backend("local")


def small_network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(11)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs))


def some_rows(count: int = 34, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    return x, (x.sum(1, keepdim=True) > 0).float() + 0.1 * x[:, :1]


def mean_error(output, target):
    return (output - target).float().mean()
