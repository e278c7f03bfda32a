"""Callbacks in the loop on one rank: what they are told, may ask for, and see."""

from __future__ import annotations

import json

import pytest
import torch

from sparkdl.errors import SettingError
from sparkdl.events import EpochEnded, StepEnded, TrainingStarted, from_record
from sparkdl.train import Callback, EarlyStopping
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO, mean_error, small_network, some_rows


def test_callbacks_events_and_stop(memory_feed, device):
    calls, records = [], []

    class Watch(Callback):
        def on_train_begin(self, state):
            calls.append(("begin", state.epoch, state.step, state.rank, state.size))

        def on_epoch_begin(self, state):
            calls.append(("epoch", state.epoch))

        def on_step_end(self, state):
            assert set(state.logs) == {"loss", "lr"}
            if state.step == 6:
                state.stop()

        def on_epoch_end(self, state):
            calls.append(("end", state.epoch, state.step, state.logs["loss"]))

        def on_train_end(self, state):
            calls.append(("over", state.step))

    train = memory_feed(*some_rows())
    result = fit(
        small_network(), TrainConfig(device=device, epochs=9, callbacks=(Watch(),)), train, None, SOLO, records.append
    )
    losses = [row["loss"] for row in result.history]
    # The wish of step 6 is in the sums of step 7, which are read with those of step 8 on a GPU.
    last, rows = (7, 30) if device == "cpu" else (8, 34)
    assert calls == [
        ("begin", 0, 0, 0, 1),
        ("epoch", 1),
        ("end", 1, 4, losses[0]),
        ("epoch", 2),
        ("end", 2, last, losses[1]),
        ("over", last),
    ]
    assert (train.begun, train.left_early) == ([0, 1], 1)
    events = [from_record(json.loads(json.dumps(record))) for record in records]
    assert events[0] == TrainingStarted(1, 9, 4, 34, device)
    assert isinstance(events[1], StepEnded)
    assert [e.logs for e in events if isinstance(e, EpochEnded)] == result.history
    assert result.history[1]["rows"] == rows


def test_stop_at_the_end_of_an_epoch(memory_feed, device):
    class Stop(Callback):
        def on_epoch_end(self, state):
            state.stop()

    result = fit(
        small_network(),
        TrainConfig(device=device, epochs=5, callbacks=(Stop(),)),
        memory_feed(*some_rows()),
        None,
        SOLO,
    )
    assert (len(result.history), result.steps) == (1, 4)


def test_early_stopping_keeps_the_best_weights(memory_feed, device):
    class Spoil(Callback):
        states = {}

        def on_epoch_begin(self, state):
            if state.epoch == 3:
                state.optimizer.param_groups[0]["lr"] = 5.0

        def on_epoch_end(self, state):
            self.states[state.epoch] = {k: v.cpu().clone() for k, v in state.module.state_dict().items()}

    config = TrainConfig(
        device=device, epochs=20, optimizer="sgd", learning_rate=0.05, callbacks=(Spoil(), EarlyStopping("val_loss", 2))
    )
    network = small_network()
    result = fit(network, config, memory_feed(*some_rows()), memory_feed(*some_rows(20, 6)), SOLO)
    assert (result.best_epoch, len(result.history)) == (2, 4)
    for name, value in Spoil.states[2].items():
        assert torch.equal(result.state[name], value)
        assert torch.equal(network.state_dict()[name].cpu(), value)


@pytest.mark.parametrize(
    ("metric", "changes", "message"),
    [
        (
            "val_loss",
            {},
            "metric='val_loss' of early stopping: expected one that is measured, loss; val_ needs",
        ),
        ("accuracy", {}, "invalid metric='accuracy' of early stopping"),
        ("odd", {"metrics": (lambda: None,)}, "expected one that is measured, loss, <lambda>"),
        ("<lambda>", {"metrics": (lambda: None,)}, "nobody says whether more of it is better"),
    ],
)
def test_early_stopping_on_nothing_is_refused(memory_feed, device, metric, changes, message):
    config = TrainConfig(device=device, callbacks=(EarlyStopping(metric, 1),), **changes)
    with pytest.raises(SettingError, match=message):
        fit(small_network(), config, memory_feed(*some_rows()), None, SOLO)


def test_an_error_of_a_callback_names_it(memory_feed, device):
    class Broken(Callback):
        def on_step_end(self, state):
            if state.step == 6:
                raise KeyError("nothing")

    with pytest.raises(KeyError, match="nothing") as caught:
        fit(
            small_network(),
            TrainConfig(device=device, epochs=3, callbacks=(Callback(), Broken())),
            memory_feed(*some_rows()),
            None,
            SOLO,
        )
    assert caught.value.__notes__ == ["raised by Broken.on_step_end in epoch 2, step 6"]


def test_callbacks_end_in_the_opposite_order_and_add_columns(memory_feed, device):
    calls = []

    class Watch(Callback):
        def __init__(self, name):
            self.name = name

        def on_validation_begin(self, state):
            calls.append((self.name, "validation", state.epoch))

        def on_epoch_end(self, state):
            state.logs["epoch"] = 99
            state.logs[self.name] = torch.tensor(state.epoch / 2)

        def on_train_end(self, state):
            calls.append((self.name, "end"))

    records = []
    config = TrainConfig(device=device, epochs=1, callbacks=(Watch("a"), Watch("b")))
    result = fit(small_network(), config, memory_feed(*some_rows()), None, SOLO, records.append)
    assert calls == [("a", "validation", 1), ("b", "validation", 1), ("b", "end"), ("a", "end")]
    (row,) = result.history
    assert (row["epoch"], row["a"], row["b"]) == (1, 0.5, 0.5)
    assert [*row][-2:] == ["a", "b"]
    assert [r["logs"] for r in records if r["event"] == "EpochEnded"] == [row]


def test_what_is_measured_and_its_direction(memory_feed, device):
    seen = []

    class Watch(Callback):
        def on_train_begin(self, state):
            seen.append(state.measured)

    config = TrainConfig(device=device, metrics=("r2", "mae", mean_error), callbacks=(Watch(),))
    fit(small_network(), config, memory_feed(*some_rows()), None, SOLO)
    fit(
        small_network(),
        TrainConfig(device=device, callbacks=(Watch(),)),
        memory_feed(*some_rows()),
        memory_feed(*some_rows()),
        SOLO,
    )
    assert seen == [{"loss": False, "r2": True, "mae": False, "mean_error": None}, {"loss": False, "val_loss": False}]
