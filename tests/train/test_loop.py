"""The loop on one rank: it does what a loop written by hand does."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparkdl.errors import DataError, NetworkError, SettingError
from sparkdl.train import Callback
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO, mean_error, small_network, some_rows


def _same(state: dict[str, torch.Tensor], module: nn.Module, **tolerance: float) -> None:
    expected = module.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, **tolerance)


def test_equals_a_loop_by_hand(memory_feed, device):
    x, y = some_rows()
    config = TrainConfig(
        device=device,
        losses=("mse",),
        epochs=3,
        learning_rate=0.05,
        lr_schedule="OneCycleLR",
        gradient_clip_norm=0.2,
        optimizer_params={"weight_decay": 0.1},
    )
    result = fit(small_network(), config, memory_feed(x, y), None, SOLO)

    network = small_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=12)
    for epoch in range(3):
        total = 0.0
        for low in range(0, 34, 10):
            loss = nn.functional.mse_loss(network(x[low : low + 10]), y[low : low + 10])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.2)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x[low : low + 10])
        logs = result.history[epoch]
        assert logs["loss"] == pytest.approx(total / 34, rel=1e-5)
        assert logs["lr"] == pytest.approx(lr)
        assert (logs["epoch"], logs["rows"]) == (epoch + 1, 34)
    _same(result.state, network)
    assert result.steps == 12
    assert json.loads(json.dumps(result.history)) == result.history


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=3, max_size=12).filter(any), st.sampled_from(["mse", "cross_entropy"]))
def test_weight_two_is_the_row_twice(memory_feed, device, weights, loss):
    x, y = some_rows(len(weights))
    y = y if loss == "mse" else (y > 0.5).long()
    counts = torch.tensor(weights)
    config = TrainConfig(device=device, losses=(loss,), epochs=2, optimizer="sgd", learning_rate=0.3)
    weighted = memory_feed(x, y, counts.float(), batch=12)
    repeated = memory_feed(x.repeat_interleave(counts, 0), y.repeat_interleave(counts, 0), batch=36)
    outputs = 1 if loss == "mse" else 2
    first = fit(small_network(outputs), config, weighted, weighted, SOLO)
    second = fit(small_network(outputs), config, repeated, repeated, SOLO)
    for name, value in first.state.items():
        torch.testing.assert_close(value, second.state[name], rtol=1e-4, atol=1e-5)
    for name in ("loss", "val_loss"):
        assert first.history[-1][name] == pytest.approx(second.history[-1][name], rel=1e-4)


def test_accumulation_changes_nothing(memory_feed, device):
    x, y = some_rows()
    weights = torch.linspace(0, 2, 34)
    results = [
        fit(
            small_network(),
            TrainConfig(device=device, epochs=2, accumulation_steps=parts, learning_rate=0.01),
            memory_feed(x, y, weights),
            None,
            SOLO,
        )
        for parts in (1, 3, 50)
    ]
    for other in results[1:]:
        for name, value in results[0].state.items():
            torch.testing.assert_close(other.state[name], value, rtol=1e-4, atol=1e-5)
        assert other.history[-1]["loss"] == pytest.approx(results[0].history[-1]["loss"], rel=1e-5)


def test_a_step_without_weight_is_skipped(memory_feed, device):
    x, y = some_rows(20)
    x[:10] = math.nan
    weights = torch.ones(20)
    weights[:10] = 0
    seen = []

    class Watch(Callback):
        def on_step_end(self, state):
            seen.append((state.step, state.module[0].weight.detach().cpu().clone()))

    before = small_network()[0].weight
    result = fit(
        small_network(), TrainConfig(device=device, callbacks=(Watch(),)), memory_feed(x, y, weights), None, SOLO
    )
    assert [step for step, _ in seen] == [1, 2]
    assert torch.equal(seen[0][1], before)
    assert not torch.equal(seen[1][1], before)
    assert result.history[0]["rows"] == 20


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_loss_that_is_nan_is_a_sentence(memory_feed, device, precision):
    x, y = some_rows()
    x[25] = math.nan
    with pytest.raises(NetworkError, match=r"the loss is nan in epoch 1, step 3 of 4: .*learningRate \(now 0.001\)"):
        fit(small_network(), TrainConfig(device=device, precision=precision), memory_feed(x, y), None, SOLO)


def test_a_gradient_that_is_nan_is_a_sentence(memory_feed, device):
    def root(output, target):
        return (output - output.detach()).abs().sqrt().sum(1)

    with pytest.raises(NetworkError, match="the gradient is not finite in epoch 1, step 1 of 4"):
        fit(small_network(), TrainConfig(device=device, losses=(root,)), memory_feed(*some_rows()), None, SOLO)


def test_several_inputs_outputs_and_labels(memory_feed, device):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.number, self.kind = nn.Linear(4, 1), nn.Linear(4, 3)

        def forward(self, left, right):
            row = torch.cat((left, right), 1)
            return {"number": self.number(row), "kind": self.kind(row)}

    x, y = some_rows()
    classes = torch.arange(34).view(34, 1) % 3
    feed = memory_feed((x[:, :1], x[:, 1:]), (y, classes), batch=34)
    config = TrainConfig(
        device=device,
        losses=("mse", "cross_entropy"),
        loss_weights=(2.0, 0.5),
        metrics=(mean_error,),
        optimizer="sgd",
        learning_rate=0.1,
    )
    network = Two()
    result = fit(network, config, feed, None, SOLO)
    other = Two()
    outputs = other(x[:, :1], x[:, 1:])
    loss = 2 * nn.functional.mse_loss(outputs["number"], y) + 0.5 * nn.functional.cross_entropy(
        outputs["kind"], classes[:, 0]
    )
    loss.backward()
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    _same(result.state, other)
    assert result.history[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert result.history[0]["mean_error_0"] == pytest.approx((outputs["number"] - y).mean().item(), rel=1e-5)
    assert "mean_error_1" in result.history[0]


def test_frozen_parameters_and_the_callers_random_state(memory_feed, device):
    network = small_network()
    network[0].requires_grad_(False)
    frozen = network[0].weight.clone()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    fit(
        nn.Sequential(network, nn.Dropout(0.5)),
        TrainConfig(device=device, epochs=2),
        memory_feed(*some_rows()),
        None,
        SOLO,
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(network[0].weight.cpu(), frozen)
    assert network[0].weight.grad is None
    network.requires_grad_(False)
    with pytest.raises(NetworkError, match="no parameter to train"):
        fit(network, TrainConfig(device=device), memory_feed(*some_rows()), None, SOLO)


class _Branches(nn.Module):
    """The second layer takes part in the second step only, the third in none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.ModuleList(nn.Linear(4, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](x) + (self.layers[1](x) if x[0, 3] > 0 else 0)


def test_parameters_that_the_loss_does_not_reach_stay_as_they_are(memory_feed, device):
    x, y = some_rows(40)
    x[:, 3] = torch.tensor([-1.0, 1, -1, -1]).repeat_interleave(10)
    settings = {"lr": 0.1, "weight_decay": 0.5}
    config = TrainConfig(device=device, learning_rate=0.1, optimizer_params={"weight_decay": 0.5}, epochs=2)
    result = fit(_Branches(), config, memory_feed(x, y), None, SOLO)
    network = _Branches()
    optimizer = torch.optim.AdamW(network.parameters(), **settings)
    for low in [0, 10, 20, 30] * 2:
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x[low : low + 10]), y[low : low + 10]).backward()
        optimizer.step()
    _same(result.state, network, rtol=1e-5, atol=1e-6)
    for name, value in _Branches().layers[2].state_dict().items():
        assert torch.equal(result.state[f"layers.2.{name}"], value)


def test_same_seed_same_weights(memory_feed, device):
    def train(seed):
        network = nn.Sequential(nn.Dropout(0.5), small_network())
        return fit(network, TrainConfig(device=device, seed=seed), memory_feed(*some_rows()), None, SOLO).state[
            "1.2.weight"
        ]

    assert torch.equal(train(1), train(1))
    assert not torch.equal(train(1), train(2))


def test_the_network_does_not_fit(memory_feed, device):
    x, y = some_rows()
    with pytest.raises(NetworkError, match=r"does not take inputs of \(10, 3\) float32: .*shapes"):
        fit(small_network(), TrainConfig(device=device), memory_feed(x[:, :3], y), None, SOLO)
    with pytest.raises(NetworkError, match=r"does not take inputs of .*positional"):
        fit(small_network(), TrainConfig(device=device), memory_feed((x, x), y), None, SOLO)
    with pytest.raises(NetworkError, match="returned str"):
        fit(_Odd(), TrainConfig(device=device), memory_feed(x, y), None, SOLO)

    class Lost(RuntimeError):
        pass

    with pytest.raises(Lost, match="a peer is gone"):
        fit(_Odd(Lost("a peer is gone")), TrainConfig(device=device), memory_feed(x, y), None, SOLO)
    with pytest.raises(RuntimeError, match="^size 3 is not what I want$"):
        fit(_Odd(RuntimeError("size 3 is not what I want")), TrainConfig(device=device), memory_feed(x, y), None, SOLO)


class _Odd(nn.Linear):
    def __init__(self, error=None):
        super().__init__(4, 1)
        self.error = error

    def forward(self, row):
        if self.error is not None:
            raise self.error
        return "a string"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"precision": "fp16"}, SettingError, "precision='fp16' needs a GPU"),
        ({"precision": "int8"}, SettingError, "invalid precision='int8': expected 'float32', 'bf16' or 'fp16'"),
        ({"epochs": 0}, SettingError, "invalid epochs=0: expected an integer >= 1"),
        ({"gradient_clip_norm": 0.0}, SettingError, "invalid gradientClipNorm=0.0: expected a number > 0"),
    ],
)
def test_settings_that_cannot_work(memory_feed, changes, error, message):
    with pytest.raises(error, match=message):
        fit(small_network(), TrainConfig(**changes), memory_feed(*some_rows()), None, SOLO)
    with pytest.raises(DataError, match="no row to train on"):
        fit(small_network(), TrainConfig(), memory_feed(*some_rows(0)), None, SOLO)


def test_bf16_trains_float32_weights(memory_feed, device):
    feed = memory_feed(*some_rows())
    config = TrainConfig(device=device, precision="bf16", epochs=20, learning_rate=0.02)
    result = fit(small_network(), config, feed, feed, SOLO)
    assert result.state["0.weight"].dtype == torch.float32
    assert result.history[-1]["val_loss"] < 0.5 * result.history[0]["loss"]


def test_rows_that_are_views_with_a_stride(memory_feed, device):
    packed = torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
    strided, copied = (packed[:, 1:5], packed[:, 6:]), (packed[:, 1:5].clone(), packed[:, 6:].clone())
    results = [
        fit(small_network(), TrainConfig(device=device), memory_feed(*rows), None, SOLO).state
        for rows in (strided, copied)
    ]
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name])


def _said(records):
    return [record["text"] for record in records if record["event"] == "Notice"]


def test_what_cannot_be_computed_is_said_once(memory_feed, device):
    x, y = some_rows(12)
    records = []
    config = TrainConfig(device=device, metrics=("r2", "mae"), epochs=3)
    result = fit(small_network(), config, memory_feed(x, y), memory_feed(x[:1], y[:1]), SOLO, records.append)
    assert all(math.isnan(row["val_r2"]) and math.isfinite(row["val_mae"]) for row in result.history)
    (said,) = _said(records)
    assert said.startswith("val_r2 of epoch 1 cannot be computed, and is NaN: ValueError: Needs at least two samples")


def test_an_epoch_of_which_nothing_counts_is_said(memory_feed, device):
    x, _ = some_rows(12)
    records = []
    labels = torch.full((12,), -100)
    before = small_network(3).state_dict()
    config = TrainConfig(device=device, losses=("cross_entropy",), epochs=2)
    result = fit(small_network(3), config, memory_feed(x, labels), memory_feed(x, labels), SOLO, records.append)
    assert all(torch.equal(result.state[name], value) for name, value in before.items())
    assert [said.partition(" cannot")[0] for said in _said(records)] == ["loss of epoch 1", "val_loss of epoch 1"]
    assert "nothing is learned from it" in _said(records)[0]


class _Logarithm(nn.Linear):
    """Returns NaN outside of training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.training else torch.log(-super().forward(x).abs() - 1)


def test_a_validation_loss_that_is_nan_is_the_networks(memory_feed, device):
    records = []
    config = TrainConfig(device=device)
    fit(_Logarithm(4, 1), config, memory_feed(*some_rows(12)), memory_feed(*some_rows(12)), SOLO, records.append)
    assert _said(records) == [
        "val_loss of epoch 1 cannot be computed, and is NaN: the network, or the loss, returns NaN or infinity for "
        "some of the rows"
    ]


def test_no_part_of_a_step_gives_batch_norm_one_row(memory_feed, device):
    x, y = some_rows(14)

    def small_network():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    config = TrainConfig(device=device, optimizer="sgd", learning_rate=0.1, accumulation_steps=4)
    result = fit(small_network(), config, memory_feed(x, y, batch=9), None, SOLO)
    expected = small_network()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1)
    # 9 rows in four parts, 5 rows in two.
    for parts in ((0, 2, 4, 6, 9), (9, 11, 14)):
        optimizer.zero_grad()
        for low, high in pairwise(parts):
            error = expected(x[low:high]) - y[low:high]
            (error.square().sum() / (parts[-1] - parts[0])).backward()
        optimizer.step()
    _same(result.state, expected, rtol=1e-4, atol=1e-5)
