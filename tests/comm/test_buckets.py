"""Gradients summed bucket by bucket while the backward pass runs: the same sums as of one buffer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.backend import Backend
from sparkdl.comm.buckets import bucket_bytes
from sparkdl.comm.flat import FlatSync
from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import NetworkError


def _network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8) for _ in range(4)]
    return nn.Sequential(*layers, nn.Linear(8, 2).to(dtype))


def _pass(network: nn.Sequential, rank: int) -> None:
    torch.manual_seed(rank)
    hidden = network[:-1](torch.randn(5, 8))
    network[-1](hidden.to(network[-1].weight.dtype)).float().square().sum().backward()


def _by_buckets(backend: Backend) -> list[Any]:
    found = []
    for limit in (0, 4, 600, 1 << 30):
        network = _network(torch.bfloat16)
        sync = FlatSync(backend, list(network.parameters()), 2, limit)
        for step in range(2):
            sync.zero()
            # In the second step rank 1 has no rows.
            if step == 0 or backend.rank == 0:
                _pass(network, backend.rank)
            sums = sync.sum([backend.rank + 1.0, torch.tensor(3.0, dtype=torch.float64)])
            found.append([torch.tensor([*sums, sync.norm]), *(p.grad.float() for p in network.parameters())])
        # A backward pass that belongs to no step disturbs nothing.
        _pass(network, 0)
    return found


def test_buckets_have_the_sums_of_one_buffer(ranks: Any) -> None:
    first, second = ranks.run(_by_buckets)
    for index, (mine, other) in enumerate(zip(first, second, strict=True)):
        assert all(map(torch.equal, mine, other))
        for got, whole in zip(mine, first[index % 2], strict=True):
            torch.testing.assert_close(got, whole)
    assert first[0][0][:2].tolist() == [3.0, 6.0]


def test_a_gradient_that_grows_after_it_was_summed_is_refused() -> None:
    class Two(SoloBackend):
        def all_reduce(self, tensor: torch.Tensor) -> None:
            return

    network, backend = _network(), Two()
    backend.size = 2
    sync = FlatSync(backend, list(network.parameters()), 1, 4)
    sync.zero()
    network(torch.randn(5, 8)).sum().backward()
    with pytest.raises(NetworkError, match="adds twice to one gradient"):
        network(torch.randn(5, 8)).sum().backward()


def test_small_networks_and_those_on_cpus_are_summed_at_once() -> None:
    assert bucket_bytes(list(_network().parameters())) == 0
    assert bucket_bytes([nn.Parameter(torch.empty(1).expand(1 << 28))]) == 0
