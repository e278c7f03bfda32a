"""Which fits are the same job."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparkdl.data.sampling.plan import Plan
from sparkdl.fitting.job_identity import job_of, weights_digest
from sparkdl.train import Callback, EarlyStopping
from sparkdl.train.config import TrainConfig

CONFIG = TrainConfig(losses=("mse",), metrics=("mae",), callbacks=(EarlyStopping("loss", 2),))
PLAN = Plan(((10, 10), (5,)), 4)


def loss(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    def scaled(output: Tensor, target: Tensor) -> Tensor:
        return scale * (output - target).abs()

    return scaled


class Net(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.Dropout(0.1), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def job(config: TrainConfig = CONFIG, module: nn.Module | None = None, plan: Plan = PLAN, rows: Any = "abc") -> str:
    return job_of(config, module or Net(), [plan], rows)


def test_first_weights_epochs_device_and_the_files_of_the_rows_do_not_count() -> None:
    torch.manual_seed(1)
    one = job()
    torch.manual_seed(2)
    assert job() == one
    assert job(replace(CONFIG, epochs=9, device="cuda")) == one
    assert job(plan=replace(PLAN, row_groups=((25,),))) == one
    assert job(replace(CONFIG, losses=(loss(2.0),))) == job(replace(CONFIG, losses=(loss(2.0),)))
    assert job(replace(CONFIG, callbacks=(EarlyStopping("loss", 2),))) == one


class Other(Callback):
    def __init__(self, steps: int, **more: Any) -> None:
        self.steps = steps
        self.more = more


OTHERS: dict[str, Callable[[], str]] = {
    "learning rate": lambda: job(replace(CONFIG, learning_rate=0.5)),
    "seed": lambda: job(replace(CONFIG, seed=1)),
    "loss": lambda: job(replace(CONFIG, losses=(loss(2.0),))),
    "what a function closes over": lambda: job(replace(CONFIG, losses=(loss(3.0),))),
    "a part of a function": lambda: job(replace(CONFIG, losses=(functools.partial(loss(2.0), target=torch.ones(1)),))),
    "other code of the same name": lambda: job(replace(CONFIG, metrics=(lambda output, target: output.mean(),))),
    "code": lambda: job(replace(CONFIG, metrics=(lambda output, target: target.mean(),))),
    "class": lambda: job(replace(CONFIG, optimizer=torch.optim.SGD)),
    "a tensor": lambda: job(replace(CONFIG, loss_params=({"weight": torch.ones(2)},))),
    "another tensor": lambda: job(replace(CONFIG, loss_params=({"weight": torch.zeros(2)},))),
    "an object": lambda: job(replace(CONFIG, callbacks=(Other(1),))),
    "another object": lambda: job(replace(CONFIG, callbacks=(Other(2),))),
    "deep inside": lambda: job(replace(CONFIG, callbacks=(Other(2, deep=[{"a": {1, 2}}]),))),
    "patience": lambda: job(replace(CONFIG, callbacks=(EarlyStopping("loss", 3),))),
    "sizes": lambda: job(module=Net(4)),
    "a layer's setting": lambda: job(module=nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.2), nn.Linear(3, 1))),
    "frozen": lambda: job(module=Net().requires_grad_(False)),
    "batch size": lambda: job(plan=replace(PLAN, batch_size=5)),
    "order": lambda: job(plan=replace(PLAN, shuffle=False)),
    "rows": lambda: job(rows="abd"),
    "nothing": job,
}


def test_each_difference_makes_another_job() -> None:
    found = {name: make() for name, make in OTHERS.items()}
    assert len(set(found.values())) == len(OTHERS), found


def test_an_object_that_holds_itself_ends() -> None:
    callback = Other(1)
    callback.more["self"] = callback
    assert job(replace(CONFIG, callbacks=(callback,)))


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_finds_the_same(hash_seed: str) -> None:
    root = Path(__file__).resolve().parents[2]
    program = (
        "from tests.fitting.test_job_identity import *\n"
        "print(job(), job(replace(CONFIG, losses=(loss(2.0),), callbacks=(Other(2, deep=[{'a', 'b', 'c'}]),))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    deep = replace(CONFIG, losses=(loss(2.0),), callbacks=(Other(2, deep=[{"a", "b", "c"}]),))
    assert done.stdout.split() == [job(), job(deep)]


def test_weights_are_told_apart() -> None:
    network = Net()
    before = weights_digest(network)
    assert weights_digest(network) == before
    with torch.no_grad():
        network.layers[0].bias[0] += 1  # type: ignore[index,operator]
    assert weights_digest(network) != before
