"""The scale of float16."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from sparkdl.train.precision import Precision, matmul_precision


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


@pytest.mark.parametrize("name", ["high", "medium"])
def test_matrix_products_are_less_precise_inside_the_block_only(name):
    before = torch.get_float32_matmul_precision()
    with matmul_precision(name):
        assert torch.get_float32_matmul_precision() == name
    assert torch.get_float32_matmul_precision() == before


def test_the_highest_precision_is_what_torch_is_set_to():
    torch.set_float32_matmul_precision("high")
    try:
        with matmul_precision("highest"):
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_settings_that_torch_does_not_mix_are_a_sentence():
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has one way to set it")
    program = """
import torch
from sparkdl.train.precision import matmul_precision
torch.backends.cuda.matmul.fp32_precision = "tf32"
with matmul_precision("highest"):
    pass
try:
    with matmul_precision("high"):
        pass
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.stdout.startswith("invalid matmulPrecision='high': this process has set"), done.stderr
