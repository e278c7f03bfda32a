"""The benchmark of training on a GPU runs; its figures are a GPU's matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_numbers_and_images_are_trained_both_ways() -> None:
    *table, last = run("--device", "cpu", "--quick", "--rounds", "1", "--only", "mlp", "resnet18")
    found = json.loads(last)
    assert [line.split()[0] for line in table[2:]] == ["mlp", "resnet18"] == list(found["ratio"])
    assert list(found["seconds"]) == ["mlp", "mlp_hand", "resnet18", "resnet18_hand"]
    assert all(value > 0 for value in (*found["ratio"].values(), *found["seconds"].values()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    assert run() == ["there is no GPU", '{"name": "gpu", "ratio": {}, "seconds": {}}']
