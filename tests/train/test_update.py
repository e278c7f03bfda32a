"""Steps whose sums are read late, as on a GPU: they give what steps give that are waited for. Float16 on the CPU."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.train import Callback
from sparkdl.train import step as step_module
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from sparkdl.train.update import reads_late
from tests.train.loops import SOLO, small_network, some_rows

CASES = {
    "plain": TrainConfig(losses=("mse",), epochs=2),
    "clipped": TrainConfig(losses=("mse",), epochs=2, learning_rate=0.05, gradient_clip_norm=0.1),
    "scheduled": TrainConfig(losses=("mse",), epochs=2, learning_rate=0.05, lr_schedule="OneCycleLR"),
    "sgd": TrainConfig(losses=("mse",), epochs=2, optimizer="sgd", optimizer_params={"momentum": 0.9}),
    "parts": TrainConfig(losses=("mse",), epochs=2, accumulation_steps=3, metrics=("mae",)),
}


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "reads_late", lambda device, optimizer: True)


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkdl.train.precision.check_device", lambda precision, device: None)


def _measures(result: Any) -> list[dict[str, float]]:
    times = {"seconds", "rows_per_second", "wait_share"}
    return [{name: value for name, value in row.items() if name not in times} for row in result.history]


def _assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one.state, other.state, rtol=1e-5, atol=1e-6)
    assert one.steps == other.steps
    for mine, theirs in zip(_measures(one), _measures(other), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_sums_that_are_read_late_change_nothing(memory_feed: Any, request: pytest.FixtureRequest, case: str) -> None:
    x, y = some_rows(54)
    weights = torch.arange(54).float() % 3
    weights[10:20] = 0
    results = []
    for _ in range(2):
        results.append(fit(small_network(), CASES[case], memory_feed(x, y, weights), None, SOLO))
        request.getfixturevalue("late")
    _assert_same(*results)


def _late_rank(memory_feed: Any, backend: Any) -> list[Any]:
    x, y = some_rows(54)
    results = []
    for reads in (reads_late, lambda device, optimizer: True):
        step_module.reads_late = reads
        feed = memory_feed(x, y, backend=backend, shares=(0, 4))
        results.append(fit(small_network(), CASES["clipped"], feed, None, backend))
    step_module.reads_late = reads_late
    return results


def test_so_it_is_on_three_ranks(ranks: Any, memory_feed: Any) -> None:
    for early, late in ranks.run(lambda backend: _late_rank(memory_feed, backend)):
        _assert_same(early, late)


class _Sometimes(nn.Module):
    """Uses a layer in every other step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.always, self.sometimes = nn.Linear(4, 1), nn.Linear(4, 1)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.always(x) + (self.sometimes(x) if self.calls % 2 else 0.0)


@pytest.mark.usefixtures("late")
def test_a_layer_that_is_used_sometimes_is_left_alone_in_between(memory_feed: Any) -> None:
    seen = []

    class Watch(Callback):
        def on_step_end(self, state: Any) -> None:
            seen.append(state.module.sometimes.weight.detach().clone())

    fit(_Sometimes(), TrainConfig(losses=("mse",), callbacks=(Watch(),)), memory_feed(*some_rows(54)), None, SOLO)
    assert [torch.equal(one, other) for one, other in pairwise(seen)] == [True, False] * 2 + [True]


@pytest.mark.usefixtures("late")
def test_an_error_names_its_step_and_nothing_wrong_is_applied(memory_feed: Any) -> None:
    x, y = some_rows(54)
    x[25] = math.nan
    network = small_network()
    with pytest.raises(NetworkError, match="the loss is nan in epoch 1, step 3 of 6: "):
        fit(network, CASES["plain"], memory_feed(x, y), None, SOLO)
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


@pytest.mark.usefixtures("late")
def test_a_stop_is_heard_a_step_later_and_every_row_is_counted(memory_feed: Any) -> None:
    class Stop(Callback):
        def on_step_end(self, state: Any) -> None:
            if state.step == 2:
                state.stop()

    result = fit(
        small_network(), TrainConfig(losses=("mse",), callbacks=(Stop(),)), memory_feed(*some_rows(54)), None, SOLO
    )
    assert (result.steps, result.history[0]["rows"]) == (4, 40)


@pytest.mark.usefixtures("float16")
@pytest.mark.parametrize("reads", ["early", "late"])
def test_rows_that_float16_cannot_hold_are_left_out_and_said(
    memory_feed: Any, request: pytest.FixtureRequest, reads: str
) -> None:
    if reads == "late":
        request.getfixturevalue("late")
    x, y = some_rows(54)
    y[20] = 1e30
    said: list[str] = []
    config = TrainConfig(
        losses=("mse",), metrics=("mae",), precision="fp16", lr_schedule="OneCycleLR", learning_rate=0.05
    )
    result = fit(small_network(), config, memory_feed(x, y), None, SOLO, lambda record: said.append(str(record)))
    assert math.isfinite(result.history[0]["loss"])
    assert result.history[0]["rows"] == 54
    assert all(torch.isfinite(value).all() for value in result.state.values())
    # OneCycleLR ends at 1 / 250,000 of its greatest rate, whatever was left out.
    assert result.history[0]["lr"] < 0.05 / 1000
    assert any("1 of 6 steps of epoch 1 were too large for float16" in line for line in said)


@pytest.mark.usefixtures("float16")
@pytest.mark.parametrize("where", ["input", "label"])
def test_float16_does_not_hide_rows_with_nan(memory_feed: Any, where: str) -> None:
    x, y = some_rows(54)
    (x if where == "input" else y)[25] = math.nan
    with pytest.raises(NetworkError, match="the loss is nan in epoch 1, step 3 of 6"):
        fit(small_network(), TrainConfig(losses=("mse",), precision="fp16"), memory_feed(x, y), None, SOLO)


def test_metrics_leave_out_what_is_left_out(memory_feed: Any, float16: None) -> None:
    x, y = some_rows(54)
    x[20] = 60000.0
    network = nn.Linear(4, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    config = TrainConfig(losses=("mse",), metrics=("mae", _mean), precision="fp16", learning_rate=0.0)
    row = fit(network, config, memory_feed(x, y), None, SOLO).history[0]
    assert all(math.isfinite(row[name]) for name in ("loss", "mae", "_mean"))


def _mean(output: torch.Tensor, target: torch.Tensor) -> float:
    return float(output.mean())


def test_only_an_optimizer_that_can_skip_by_itself_is_read_late() -> None:
    parameters = list(small_network().parameters())
    cuda = torch.device("cuda")
    fused, plain = torch.optim.AdamW(parameters, fused=True), torch.optim.AdamW(parameters)
    assert reads_late(cuda, fused)
    assert not reads_late(cuda, plain)
    assert not reads_late(cuda, torch.optim.Adagrad(parameters))
    assert not reads_late(torch.device("cpu"), fused)
