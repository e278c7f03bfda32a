"""The scale of float16."""

from __future__ import annotations

import math

import torch

from sparkdl.train.precision import Precision


def test_the_scale_of_float16():
    scale = Precision("fp16", torch.device("cuda"))
    assert scale.scale == 65536
    assert all(scale.shrink(scale.scale) for _ in range(16))
    for _ in range(2000):
        scale.grow()
    assert scale.scale == 2.0
    assert scale.shrink(scale.scale)
    assert not scale.shrink(scale.scale)


def test_the_scale_moves_as_torchs_does():
    ours = Precision("fp16", torch.device("cuda"))
    torchs = torch.amp.GradScaler("cpu")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for step in range(5000):
        overflows = step in (3, 4, 2500)
        torchs.scale(torch.ones(()))
        parameter.grad = torch.tensor([math.inf if overflows else 1.0])
        torchs.step(optimizer)
        torchs.update()
        ours.shrink(ours.scale) if overflows else ours.grow()
        assert ours.scale == torchs.get_scale(), step
