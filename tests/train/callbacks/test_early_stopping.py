"""What counts as progress."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.train.callbacks.early_stopping import EarlyStopping, weights_of


def _judged(values, maximise=False, patience=2):
    watch = EarlyStopping("figure", patience, maximise)
    return [watch.judge({"figure": value}) for value in values]


def test_a_hundredth_of_a_percent_is_no_progress():
    assert _judged([1.0, 0.99995, 0.9998]) == [(True, False), (False, False), (True, False)]
    assert _judged([0.5, 0.50004, 0.5], maximise=True) == [(True, False), (False, False), (False, True)]
    assert _judged([-1.0, -1.00005, -1.0002]) == [(True, False), (False, False), (True, False)]


def test_nan_is_no_progress_and_patience_begins_anew():
    judged = _judged([math.nan, 3.0, math.nan, 2.0, 2.0, 2.0])
    assert [better for better, _ in judged] == [False, True, False, True, False, False]
    assert [done for _, done in judged] == [False] * 5 + [True]
    with pytest.raises(SettingError, match="earlyStoppingPatience=0"):
        EarlyStopping("loss", 0, False)


def test_kept_weights_are_a_copy():
    network = nn.Linear(2, 1)
    kept = weights_of(network)
    before = kept["weight"].clone()
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(kept["weight"], before)
    assert before.any()
