"""The scale of float16."""

from __future__ import annotations

import torch

from sparkdl.train.precision import Precision


def test_the_scale_of_float16():
    scale = Precision("fp16", torch.device("cuda"))
    assert scale.scale == 65536
    assert all(scale.shrink() for _ in range(16))
    for _ in range(2000):
        scale.grow()
    assert scale.scale == 2.0
    assert scale.shrink()
    assert not scale.shrink()
