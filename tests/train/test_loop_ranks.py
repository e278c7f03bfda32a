"""The loop on three Horovod ranks: they compute what one rank computes, and they end together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm import open_backend
from sparkdl.errors import NetworkError, SettingError
from sparkdl.train import Callback, EarlyStopping
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from sparkdl.train.step import _parts_over_ranks

SHARES = {"even": None, "uneven": (1, 7), "a rank without rows": (0, 4)}
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def _network(norm: bool = False, seed: int = 11) -> nn.Module:
    torch.manual_seed(seed)
    # A bias before batch norm has no gradient but noise, which Adam would make as large as any other.
    layers = [nn.Linear(4, 6, bias=not norm), nn.BatchNorm1d(6) if norm else nn.Identity(), nn.Tanh(), nn.Linear(6, 3)]
    return nn.Sequential(*layers)


def _rows(count: int = 34) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, 4, generator=generator)
    labels = (x[:, :3] + 0.5 * torch.randn(count, 3, generator=generator)).argmax(1, keepdim=True)
    return x, labels, torch.arange(count).float() % 4


def _fit(memory_feed: Any, config: TrainConfig, backend: Any, shares: Any = None, norm: bool = False) -> Any:
    x, labels, weights = _rows()
    train = memory_feed(x, labels, weights, backend=backend, shares=shares)
    validation = memory_feed(x[:11], labels[:11], weights[:11], batch=4, backend=backend, shares=shares)
    # Rank 0's weights count: the others begin with different ones.
    return fit(_network(norm, seed=11 + backend.rank), config, train, validation, backend)


def _assert_equal_to_one(results: Any, one: Any) -> None:
    for result in results:
        for name, value in one.state.items():
            torch.testing.assert_close(result.state[name], value, **CLOSE)
        assert result.steps == one.steps
        assert result.best_epoch == one.best_epoch
        for row, expected in zip(result.history, one.history, strict=True):
            for name in set(row) - {"seconds", "rows_per_second", "wait_share"}:
                assert row[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    first = results[0]
    assert all(torch.equal(first.state[n], r.state[n]) for r in results for n in first.state)
    assert all(r.history == first.history for r in results)


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES.keys())
def test_three_ranks_compute_what_one_does(ranks, memory_feed, shares):
    config = TrainConfig(
        task="classification",
        losses=("cross_entropy",),
        num_classes=3,
        class_weights=(1.0, 2.0, 0.5),
        metrics=("accuracy", "f1", "auroc", _share_of_class_one),
        epochs=3,
        learning_rate=0.02,
        lr_schedule="CosineAnnealingLR",
        gradient_clip_norm=0.5,
        accumulation_steps=2,
        callbacks=(EarlyStopping("val_loss", 3),),
    )
    results = ranks.run(lambda backend: _fit(memory_feed, config, backend, shares))
    _assert_equal_to_one(results, _fit(memory_feed, config, open_backend("local")))


def _share_of_class_one(output, target):
    return (output.argmax(1) == 1).float().mean()


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES.keys())
def test_batch_norm_over_all_ranks(ranks, memory_feed, shares):
    config = TrainConfig(losses=("cross_entropy",), epochs=2, learning_rate=0.02, sync_batch_norm=True)
    results = ranks.run(lambda backend: _fit(memory_feed, config, backend, shares, norm=True))
    _assert_equal_to_one(results, _fit(memory_feed, config, open_backend("local"), norm=True))


def test_ranks_with_compiled_steps_compute_what_one_does(ranks, memory_feed):
    config = TrainConfig(losses=("cross_entropy",), epochs=2, learning_rate=0.02, sync_batch_norm=True)
    compiled = replace(config, compile={"backend": "aot_eager"})
    results = ranks.run(lambda backend: _fit(memory_feed, compiled, backend, SHARES["uneven"], norm=True))
    _assert_equal_to_one(results, _fit(memory_feed, config, open_backend("local"), norm=True))


def test_batch_norm_of_each_rank(ranks, memory_feed):
    config = TrainConfig(losses=("cross_entropy",), epochs=2, learning_rate=0.02)
    shares = (3, 0)

    def on_rank(backend):
        x, labels, _ = _rows(30)
        train = memory_feed(x, labels, backend=backend, shares=shares)
        result = fit(_network(norm=True), config, train, train, backend)
        return result.state, result.history[-1]["val_loss"]

    states = ranks.run(on_rank)
    for state, loss in states[1:]:
        assert loss == states[0][1]
        assert all(torch.equal(value, states[0][0][name]) for name, value in state.items())
    # 7 of 10 rows of each step are on rank 2: its mean counts 7/10 in the average of the last epoch.
    assert states[0][0]["1.running_mean"].abs().sum() > 0

    def lonely(backend):
        x, labels, _ = _rows(3)
        fit(_network(norm=True), config, memory_feed(x, labels, backend=backend), None, backend)

    for error in ranks.outcomes(lonely):
        assert isinstance(error, SettingError)
        assert "set syncBatchNorm or dropLast" in str(error)


def test_a_nan_on_one_rank_is_the_same_sentence_on_all(ranks, memory_feed):
    def on_rank(backend):
        x, labels, _ = _rows()
        x[29] = math.nan
        fit(_network(), TrainConfig(losses=("cross_entropy",)), memory_feed(x, labels, backend=backend), None, backend)

    errors = ranks.outcomes(on_rank)
    assert all(type(error) is NetworkError for error in errors)
    assert len({str(error) for error in errors}) == 1
    assert "the loss is nan in epoch 1, step 3 of 4" in str(errors[0])


def test_one_rank_stops_all(ranks, memory_feed):
    def on_rank(backend, at_step, at_epoch):
        class Stop(Callback):
            def on_step_end(self, state):
                if state.rank == 2 and state.step == at_step:
                    state.stop()

            def on_epoch_end(self, state):
                if state.rank == 1 and state.epoch == at_epoch:
                    state.stop()

        config = TrainConfig(losses=("cross_entropy",), epochs=6, callbacks=(Stop(),))
        result = _fit(memory_feed, config, backend)
        return result.steps, len(result.history)

    assert ranks.run(lambda backend: on_rank(backend, 6, 0)) == [(7, 2)] * 3
    assert ranks.run(lambda backend: on_rank(backend, 8, 0)) == [(8, 2)] * 3
    assert ranks.run(lambda backend: on_rank(backend, 0, 3)) == [(12, 3)] * 3


def test_early_stopping_and_events(ranks, memory_feed):
    def on_rank(backend):
        records = []
        x, labels, _ = _rows()
        feed = memory_feed(x, labels, backend=backend)
        config = TrainConfig(
            losses=("cross_entropy",),
            metrics=("accuracy",),
            epochs=30,
            learning_rate=0.0,
            callbacks=(EarlyStopping("val_accuracy", 2),),
        )
        result = fit(_network(), config, feed, feed, backend, records.append)
        return result.best_epoch, len(result.history), [record["event"] for record in records]

    first, second, third = ranks.run(on_rank)
    assert first[:2] == second[:2] == third[:2] == (1, 3)
    assert first[2].count("EpochEnded") == 3
    assert second[2] == third[2] == []


def test_zero_weight_on_all_ranks_but_one(ranks, memory_feed):
    def on_rank(backend, size):
        x, labels, _ = _rows()
        weights = torch.zeros(34)
        weights[7:12] = 1.5
        feed = memory_feed(x, labels, weights, backend=backend)
        return fit(_network(), TrainConfig(losses=("cross_entropy",), epochs=2), feed, feed, backend)

    one = on_rank(open_backend("local"), 1)
    _assert_equal_to_one(ranks.run(lambda backend: on_rank(backend, 3)), one)
    assert one.history[0]["rows"] == 34


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.kinds, self.number = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.kinds(x), self.number(x)


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES.keys())
def test_several_losses_of_weights_of_their_own(ranks, memory_feed, shares):
    config = TrainConfig(
        losses=("cross_entropy", "mse"),
        loss_params=({"weight": [1.0, 4.0, 0.5]}, {}),
        optimizer="sgd",
        learning_rate=0.1,
        accumulation_steps=2,
    )

    def on_rank(backend: Any) -> Any:
        x, labels, weights = _rows()
        labels[::3] = -100
        train = memory_feed(x, (labels, x[:, :1]), weights, backend=backend, shares=shares)
        return fit(_TwoHeads(), config, train, train, backend)

    one = on_rank(open_backend("local"))
    _assert_equal_to_one(ranks.run(on_rank), one)
    x, labels, weights = _rows()
    labels[::3] = -100
    network = _TwoHeads()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for low in range(0, 34, 10):
        rows = slice(low, low + 10)
        classes, number = network(x[rows])
        each = nn.functional.cross_entropy(classes, labels[rows, 0], torch.tensor([1.0, 4.0, 0.5]), reduction="none")
        own = torch.tensor([1.0, 4.0, 0.5])[labels[rows, 0].clamp(0)] * (labels[rows, 0] >= 0) * weights[rows]
        squares = (number - x[rows, :1]).square()[:, 0]
        optimizer.zero_grad()
        loss = (each * weights[rows]).sum() / own.sum() + (squares * weights[rows]).sum() / weights[rows].sum()
        loss.backward()
        optimizer.step()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(one.state[name], value, **CLOSE)


def test_parts_of_a_step_have_two_rows_over_all_ranks():
    assert _parts_over_ranks([10, 10, 10], 4) == 4
    assert _parts_over_ranks([3, 1], 4) == 1
    assert _parts_over_ranks([2, 2], 4) == 2
    assert _parts_over_ranks([0, 7], 5) == 3
    assert _parts_over_ranks([0, 0], 5) == 1


def test_batch_norm_over_all_ranks_in_parts_and_without_rows(ranks, memory_feed):
    config = TrainConfig(
        losses=("cross_entropy",), epochs=2, learning_rate=0.02, sync_batch_norm=True, accumulation_steps=4
    )

    def on_rank(backend):
        x, labels, weights = _rows(34)
        # The last step has 4 rows on three ranks, the second none that counts.
        weights[10:20] = 0
        train = memory_feed(x, labels, weights, backend=backend)
        return fit(_network(norm=True), config, train, None, backend)

    results = ranks.run(on_rank)
    assert all(torch.equal(value, each.state[name]) for each in results for name, value in results[0].state.items())
    assert math.isfinite(results[0].history[-1]["loss"])


def test_batch_norm_over_all_ranks_without_running_statistics(ranks, memory_feed):
    config = TrainConfig(losses=("cross_entropy",), epochs=2, learning_rate=0.02, sync_batch_norm=True)

    def on_rank(backend):
        x, labels, _ = _rows(30)
        network = _network(norm=True)
        network[1] = nn.BatchNorm1d(6, track_running_stats=False)
        train = memory_feed(x, labels, backend=backend)
        # Ranks without rows, and with one, measure other numbers of batches.
        held = memory_feed(x[:7], labels[:7], batch=3, backend=backend, shares=(0, 1))
        return fit(network, config, train, held, backend)

    results = ranks.run(on_rank)
    assert math.isfinite(results[0].history[-1]["val_loss"])
    assert all(each.history == results[0].history for each in results)


def test_statistics_of_batch_norm_are_averaged_by_the_rows_that_it_saw(ranks, memory_feed):
    def on_rank(backend):
        x, labels, weights = torch.zeros(30, 4), torch.zeros(30, 1, dtype=torch.int64), torch.ones(30)
        # Rank 0 has 12 rows of ones, rank 1 has 9 rows of zeros of which 6 do not count, rank 2 has 9 rows of zeros.
        x[:12], weights[12:18] = 1.0, 0.0
        network = nn.Sequential(nn.BatchNorm1d(4, momentum=1.0), nn.Linear(4, 3))
        train = memory_feed(x, labels, weights, batch=30, backend=backend, shares=(12, 9))
        return fit(network, TrainConfig(losses=("cross_entropy",)), train, None, backend).state["0.running_mean"]

    for mean in ranks.run(on_rank):
        torch.testing.assert_close(mean, torch.full((4,), 12 / 24))
