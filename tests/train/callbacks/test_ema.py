"""The average is torch's; validation measures it, training does not see it, the model gets it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sparkdl.errors import SettingError
from sparkdl.train import EMA, Callback, EarlyStopping
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO


class Weights(Callback):
    """Keeps the weights after each step, before each epoch and at its end."""

    def __init__(self):
        self.steps, self.begins, self.ends = [], [], []

    def on_epoch_begin(self, state):
        self.begins.append(copy.deepcopy(state.module.state_dict()))

    def on_step_end(self, state):
        self.steps.append(copy.deepcopy(state.module.state_dict()))

    def on_epoch_end(self, state):
        self.ends.append(copy.deepcopy(state.module.state_dict()))


def _rows(seed=3):
    x = torch.randn(34, 4, generator=torch.Generator().manual_seed(seed))
    return x, x.sum(1, keepdim=True)


def _network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _fit(memory_feed, *callbacks, validates=True, epochs=3):
    config = TrainConfig(epochs=epochs, learning_rate=0.05, callbacks=callbacks)
    held = memory_feed(*_rows(4)) if validates else None
    return fit(_network(), config, memory_feed(*_rows()), held, SOLO)


@pytest.mark.parametrize("validates", [True, False])
def test_the_model_gets_the_average_of_torch(memory_feed, validates):
    seen, plain = Weights(), Weights()
    result = _fit(memory_feed, EMA(0.7), seen, validates=validates)
    without = _fit(memory_feed, plain, validates=validates)

    # The trained weights are those of a fit without it, step by step.
    assert all(_equal(ours, theirs) for ours, theirs in zip(seen.steps, plain.steps, strict=True))
    assert [row["loss"] for row in result.history] == [row["loss"] for row in without.history]
    network = _network()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    for weights in plain.steps:
        network.load_state_dict(weights)
        average.update_parameters(network)
    assert _equal(result.state, average.module.state_dict())
    assert _equal(seen.ends[-1], result.state)
    assert not _equal(result.state, without.state)


def test_validation_measures_the_average(memory_feed):
    seen = Weights()
    result = _fit(memory_feed, EMA(0.7), seen)
    x, y = _rows(4)
    for weights, row in zip(seen.ends, result.history, strict=True):
        network = _network()
        network.load_state_dict(weights)
        loss = nn.functional.mse_loss(network.eval()(x), y)
        assert row["val_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_early_stopping_keeps_the_average(memory_feed):
    seen = Weights()
    result = _fit(memory_feed, EMA(0.7), seen, EarlyStopping("val_loss", 2), epochs=4)
    assert _equal(result.state, seen.ends[result.best_epoch - 1])


def test_frozen_weights_stay(memory_feed):
    network = _network()
    network[0].requires_grad_(False)
    before = copy.deepcopy(network[0].state_dict())
    fit(network, TrainConfig(callbacks=(EMA(0.5),)), memory_feed(*_rows()), None, SOLO)
    assert _equal(network[0].state_dict(), before)


def test_it_goes_on_where_it_was_left(memory_feed):
    """A fit of two epochs, cut in two with all that a checkpoint keeps, is the same fit."""

    class Cut(Callback):
        def on_epoch_end(self, state):
            if state.epoch == 1:
                kept = {"module": state.module, "optimizer": state.optimizer, "ema": ema}
                self.kept = copy.deepcopy({name: each.state_dict() for name, each in kept.items()})

    class GoOn(Callback):
        def on_train_begin(self, state):
            state.module.load_state_dict(cut.kept["module"])
            state.optimizer.load_state_dict(cut.kept["optimizer"])
            later.load_state_dict(cut.kept["ema"])

    ema, later, cut = EMA(0.7), EMA(0.7), Cut()
    whole = _fit(memory_feed, ema, cut, epochs=2)
    rest = _fit(memory_feed, later, GoOn(), epochs=1)
    assert _equal(whole.state, rest.state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_a_decay_that_is_none(decay):
    with pytest.raises(SettingError, match=f"invalid decay={decay} of EMA: expected a number >= 0 and < 1"):
        EMA(decay)
