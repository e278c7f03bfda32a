"""What counts as progress, which weights are kept, and that it goes on where it was left."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.train import EarlyStopping, TrainState


def _begun(maximise=False, patience=2):
    network = nn.Linear(2, 1)
    state = TrainState(0, 1, network, torch.optim.SGD(network.parameters(), lr=0.1), measured={"figure": maximise})
    stopping = EarlyStopping("figure", patience)
    stopping.on_train_begin(state)
    return stopping, state


def _judged(values, maximise=False, patience=2):
    """After each epoch: whether it was the best so far, and whether the training should end."""
    stopping, state = _begun(maximise, patience)
    judged = []
    for epoch, value in enumerate(values, 1):
        state.epoch, state.logs = epoch, {"figure": value}
        stopping.on_epoch_end(state)
        judged.append((state.best_epoch == epoch, state.stopping))
    return judged


def test_a_hundredth_of_a_percent_is_no_progress():
    assert _judged([1.0, 0.99995, 0.9998]) == [(True, False), (False, False), (True, False)]
    assert _judged([0.5, 0.50004, 0.5], maximise=True) == [(True, False), (False, False), (False, True)]
    assert _judged([-1.0, -1.00005, -1.0002]) == [(True, False), (False, False), (True, False)]


def test_nan_is_no_progress_and_patience_begins_anew():
    judged = _judged([math.nan, 3.0, math.nan, 2.0, 2.0, 2.0])
    assert [better for better, _ in judged] == [False, True, False, True, False, False]
    assert [done for _, done in judged] == [False] * 5 + [True]
    with pytest.raises(SettingError, match="invalid patience=0 of EarlyStopping: expected an integer >= 1"):
        EarlyStopping("loss", 0)


def test_the_weights_of_the_best_epoch_come_back():
    stopping, state = _begun()
    best = {name: value.clone() for name, value in state.module.state_dict().items()}
    for epoch, value in enumerate([1.0, 2.0], 1):
        state.epoch, state.logs = epoch, {"figure": value}
        stopping.on_epoch_end(state)
        with torch.no_grad():
            state.module.weight.zero_()
    stopping.on_train_end(state)
    assert state.best_epoch == 1
    assert all(torch.equal(value, best[name]) for name, value in state.module.state_dict().items())


def test_without_progress_the_weights_stay_the_last_ones():
    stopping, state = _begun()
    state.epoch, state.logs = 1, {"figure": math.nan}
    stopping.on_epoch_end(state)
    with torch.no_grad():
        state.module.weight.fill_(7.0)
    stopping.on_train_end(state)
    assert state.best_epoch is None
    assert (state.module.weight == 7.0).all()


def test_it_goes_on_where_it_was_left():
    stopping, state = _begun()
    for epoch, value in enumerate([1.0, 2.0], 1):
        state.epoch, state.logs = epoch, {"figure": value}
        stopping.on_epoch_end(state)
    again, later = _begun()
    again.load_state_dict(stopping.state_dict())
    later.epoch, later.logs = 3, {"figure": 1.0}
    again.on_epoch_end(later)
    assert (later.best_epoch, later.stopping) == (1, True)
    again.on_train_end(later)
    assert torch.equal(later.module.weight, state.module.weight)


def test_the_direction():
    measured = {"loss": False, "r2": True, "odd": None}
    assert [EarlyStopping(name).direction(measured) for name in ("loss", "r2")] == [False, True]
    assert EarlyStopping("odd", higher_is_better=True).direction(measured)
    assert not EarlyStopping("r2", higher_is_better=False).direction(measured)
    with pytest.raises(SettingError, match="invalid metric='odd' of early stopping: nobody says"):
        EarlyStopping("odd").direction(measured)
    with pytest.raises(SettingError, match="invalid metric='f1' of early stopping: .*measured, loss, r2"):
        EarlyStopping("f1").direction(measured)
