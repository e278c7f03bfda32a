"""Copies of a module's state."""

from __future__ import annotations

import torch
from torch import nn

from sparkdl.train.weights import weights_of


def test_kept_weights_are_a_copy():
    network = nn.Linear(2, 1)
    kept = weights_of(network)
    before = kept["weight"].clone()
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(kept["weight"], before)
    assert before.any()
