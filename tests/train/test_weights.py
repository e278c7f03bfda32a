"""Copies of a module's state, and of the tensors beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparkdl.train.weights import load_weights, marks, weights_of


class _Beside(nn.Module):
    """Tensors that no state_dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.layer.register_buffer("seen", torch.zeros(2), persistent=False)
        self.layer.register_buffer("grown", torch.zeros(1), persistent=False)
        self.layer.register_buffer("none", None, persistent=False)
        self.replaced = torch.zeros(3)
        self.late = None
        self.constant = torch.ones(4)
        self.spread = torch.zeros(1).expand(5)
        self.adjacency = torch.eye(2).to_sparse()
        self.kept = torch.zeros(1)


def test_kept_weights_are_a_copy():
    network = nn.Linear(2, 1)
    kept = weights_of(network)
    before = kept["weight"].clone()
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(kept["weight"], before)
    assert before.any()


def test_tensors_beside_the_state_come_along():
    network = _Beside()
    twin, begun = copy.deepcopy(network), marks(network)
    assert set(weights_of(network, begun)) == {"layer.weight", "layer.bias"}
    network.layer.seen += 1
    network.layer.grown = torch.ones(6)
    network.replaced = network.replaced + 2
    network.late = torch.ones(1)
    network.spread = torch.ones(5)
    network.kept = network.layer(torch.ones(1, 2))  # Of this forward pass: it has a graph.
    changed = weights_of(network, begun)
    assert set(changed) == {"layer.weight", "layer.bias", "layer.seen", "layer.grown", "replaced", "late", "spread"}
    later = marks(twin)
    load_weights(twin, changed)
    assert twin.layer.seen.tolist() == [1, 1]
    assert twin.layer.grown.tolist() == [1] * 6
    assert twin.replaced.tolist() == [2] * 3
    assert twin.late.tolist() == [1]
    assert twin.spread.tolist() == [1] * 5
    assert twin.constant is later["constant"][0]
    assert weights_of(twin, later).keys() == changed.keys()
    # All of them, for who keeps a state to go back to; putting it back where it is changes nothing.
    later = marks(twin)
    assert {"constant", "kept", "layer.seen"} < weights_of(twin).keys()
    load_weights(twin, weights_of(twin))
    assert set(weights_of(twin, later)) == {"layer.weight", "layer.bias"}


def test_weights_of_another_network_are_refused():
    with pytest.raises(RuntimeError, match="there is no 'bias' among the weights"):
        load_weights(nn.Linear(2, 1), {"weight": torch.zeros(1, 2)})
    with pytest.raises(AttributeError):
        load_weights(nn.Linear(2, 1), {**weights_of(nn.Linear(2, 1)), "other.weight": torch.zeros(1)})
