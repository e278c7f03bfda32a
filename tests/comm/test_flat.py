"""One buffer of gradients: views, dtypes, exact sums of the numbers that go along."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparkdl.comm import open_backend
from sparkdl.comm.flat import _split, _split_on_cpu
from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import NetworkError


def _network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2))


def _summed(backend):
    network = _network().to(memory_format=torch.channels_last)
    sync = backend.gradient_sync(list(network.parameters()), 3)
    sync.zero()
    torch.manual_seed(backend.rank)
    network(torch.randn(5, 1, 4, 4)).square().sum().backward()
    own = [p.grad.clone() for p in network.parameters()]
    sums = sync.sum([2**24 + 1 + backend.rank, torch.tensor(0.1, dtype=torch.float64), 1e-30 * backend.rank])
    gradients = [p.grad.clone() for p in network.parameters()]
    norm = sync.norm
    sync.scale(0.5)
    halves = [p.grad.clone() for p in network.parameters()]
    return own, sums, gradients, norm, halves


def test_sums_over_ranks(ranks):
    (own0, sums0, total0, norm0, halves0), (own1, sums1, total1, norm1, _) = ranks.run(_summed)
    for first, second, summed, other, half in zip(own0, own1, total0, total1, halves0, strict=True):
        torch.testing.assert_close(summed, first + second)
        assert torch.equal(summed, other)
        torch.testing.assert_close(half, summed / 2)
    assert sums0 == sums1
    assert sums0[0] == 2**25 + 3
    assert sums0[1] == pytest.approx(0.2, rel=1e-15)
    assert sums0[2] == pytest.approx(1e-30, rel=1e-14)
    assert norm0 == norm1 == pytest.approx(torch.cat([g.flatten() for g in total0]).norm().item(), rel=1e-6)


def _on_device(backend):
    found = []
    for late in (False, True):
        network = _network()
        sync = backend.gradient_sync(list(network.parameters()), 2)
        sync.zero()
        torch.manual_seed(backend.rank)
        network(torch.randn(5, 1, 4, 4)).square().sum().backward()
        extra = [2**24 + 1 + backend.rank, torch.tensor(0.1, dtype=torch.float64)]
        sums = sync.sum_on_device(extra).tolist() if late else [*sync.sum(extra), sync.norm, 0.0]
        sync.scale(torch.tensor(0.5) if late else 0.5)
        found.append([torch.tensor(sums), *(p.grad.clone() for p in network.parameters())])
    return found


def test_sums_that_stay_on_the_device_are_the_same(ranks):
    outcomes = [*ranks.run(_on_device), _on_device(SoloBackend())]
    for at_once, on_device in outcomes:
        for one, other in zip(at_once, on_device, strict=True):
            torch.testing.assert_close(one, other)


def test_what_is_marked_counts_as_reached():
    network = _network()
    sync = SoloBackend().gradient_sync(list(network.parameters()), 0)
    sync.zero()
    sync.mark_reached([True, False, True, True])
    assert sync.sum_on_device([]).tolist() == [0.0, 1.0]
    assert sync.reached() == [True, False, True, True]
    assert [p.grad is None for p in network.parameters()] == [False, True, False, False]


def _not_finite(backend):
    network = _network()
    sync = backend.gradient_sync(list(network.parameters()), 1)
    sync.zero()
    return sync.sum([math.nan if backend.rank == 1 else 1.0])


def test_a_number_that_is_not_finite_reaches_all(ranks):
    assert all(math.isnan(sums[0]) for sums in ranks.run(_not_finite))


@given(st.lists(st.floats(-1e30, 1e30).filter(lambda x: x == 0 or abs(x) > 1e-20), min_size=1, max_size=5))
def test_three_float32_carry_a_float64(numbers):
    parts = _split(torch.tensor(numbers, dtype=torch.float64))
    assert parts.dtype == torch.float32
    assert parts.double().sum(1).tolist() == numbers
    assert _split_on_cpu(numbers).tolist() == parts.tolist()


def test_gradients_are_views_and_stay_so():
    network = _network()
    sync = open_backend("local").gradient_sync(list(network.parameters()), 1)
    sync.zero()
    before = [p.grad.data_ptr() for p in network.parameters()]
    network(torch.ones(1, 1, 4, 4)).sum().backward()
    for parameter in network.parameters():
        parameter.grad = parameter.grad * 2
    doubled = [p.grad.clone() for p in network.parameters()]
    assert sync.sum([7]) == [7.0]
    assert [p.grad.data_ptr() for p in network.parameters()] == before
    assert all(torch.equal(p.grad, d) for p, d in zip(network.parameters(), doubled, strict=True))
    sync.zero()
    assert all(not p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_parameter_that_is_not_reached_has_no_gradient(dtype):
    used, unused = nn.Linear(2, 1, dtype=dtype), nn.Linear(2, 1, dtype=dtype)
    sync = open_backend("local").gradient_sync([*used.parameters(), *unused.parameters()], 0)
    for reaches in (False, True, False):
        sync.zero()
        output = used(torch.ones(1, 2, dtype=dtype)).sum()
        # A gradient of zeros is one.
        (output + 0 * unused(torch.ones(1, 2, dtype=dtype)).sum() if reaches else output).backward()
        sync.sum([])
        assert used.weight.grad.tolist() == [[1.0, 1.0]]
        assert [p.grad is None for p in unused.parameters()] == [not reaches] * 2
        assert not reaches or not unused.weight.grad.any()


def _reached_by_one(backend):
    layers = [nn.Linear(2, 1) for _ in range(3)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    sync = backend.gradient_sync([p for layer in layers for p in layer.parameters()], 1)
    found = []
    for step in range(2):
        sync.zero()
        # Rank 0 has no rows, rank 1 reaches the first layer, the last rank also the second, and in step 1 the third.
        if backend.rank:
            reached = 1 if backend.rank < backend.size - 1 else 2 + step
            sum(layer(torch.ones(1, 2)).sum() for layer in layers[:reached]).backward()
        sums = sync.sum([backend.rank])
        found.append((sums, [None if layer.weight.grad is None else layer.weight.grad.tolist() for layer in layers]))
    return found


def test_a_parameter_that_one_rank_reaches_has_the_gradient_on_all(ranks):
    size = ranks.size
    numbers = [float(sum(range(size)))]
    first = [[float(size - 1)] * 2]
    for found in ranks.run(_reached_by_one):
        assert found == [(numbers, [first, [[1.0, 1.0]], None]), (numbers, [first, [[1.0, 1.0]], [[1.0, 1.0]]])]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_travel_with_float32(dtype):
    network = nn.Sequential(nn.Linear(3, 3, dtype=dtype), nn.Linear(3, 1))
    sync = open_backend("local").gradient_sync(list(network.parameters()), 0)
    sync.zero()
    hidden = network[0](torch.ones(2, 3, dtype=dtype))
    network[1](hidden.float()).sum().backward()
    expected = network[0].weight.grad.clone()
    sync.sum([])
    sync.scale(0.5)
    assert network[0].weight.grad.dtype == dtype
    assert torch.equal(network[0].weight.grad, expected * 0.5)


def test_nothing_to_train():
    with pytest.raises(NetworkError, match="no parameter to train"):
        open_backend("local").gradient_sync([], 1)
    with pytest.raises(NetworkError, match="complex64"):
        open_backend("local").gradient_sync([nn.Parameter(torch.zeros(2, dtype=torch.complex64))], 1)
