"""The rates of all groups become columns, as they were in the epoch's last step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparkdl.train import LearningRateMonitor
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO


def _fit(memory_feed, callback, **settings):
    rows = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    feed = memory_feed(rows, rows.sum(1, keepdim=True))
    return fit(nn.Linear(2, 1), TrainConfig(epochs=2, callbacks=(callback,), **settings), feed, None, SOLO).history


def test_the_rate_of_the_last_step(memory_feed):
    history = _fit(memory_feed, LearningRateMonitor(), lr_schedule="CosineAnnealingLR")
    assert [row["lr_0"] for row in history] == [row["lr"] for row in history]
    assert history[0]["lr_0"] > history[1]["lr_0"]


def test_every_group_by_its_name_or_number(memory_feed):
    def two_groups(parameters):
        first, second = parameters
        groups = [{"params": [first], "name": "weight"}, {"params": [second], "lr": 0.01, "momentum": 0.0}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9)

    def halved(optimizer, total_steps):
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

    history = _fit(memory_feed, LearningRateMonitor(momentum=True), optimizer=two_groups, lr_schedule=halved)
    assert [row["lr_weight"] for row in history] == [0.5, 0.25]
    assert [row["lr_1"] for row in history] == pytest.approx([0.01, 0.005])
    assert [(row["momentum_weight"], row["momentum_1"]) for row in history] == [(0.9, 0.0)] * 2


def test_momentum_of_adam_that_a_schedule_moves(memory_feed):
    (first, last) = _fit(memory_feed, LearningRateMonitor(momentum=True), lr_schedule="OneCycleLR")
    assert 0.84 < first["momentum_0"] < 0.96
    assert last["momentum_0"] == pytest.approx(0.95, abs=1e-3)
