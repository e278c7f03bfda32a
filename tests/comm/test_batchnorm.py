"""Batch norm over ranks equals batch norm over all their rows on one rank: values, gradients, statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sparkdl.comm.batchnorm import RankBatchNorm, convert
from sparkdl.comm.solo import SoloBackend

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SHAPES = {nn.BatchNorm1d: (9, 4), nn.BatchNorm2d: (9, 4, 3, 2), nn.BatchNorm3d: (9, 4, 2, 3, 2)}


def _network(kind: type[nn.Module], momentum: float | None = 0.1) -> nn.Module:
    torch.manual_seed(3)
    layer = kind(4, momentum=momentum)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return nn.Sequential(layer, nn.Tanh())


def _rows(kind: type[nn.Module]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    # Far from zero: the variance must not vanish in the difference of large squares.
    return torch.randn(SHAPES[kind], generator=generator) * 2 + 1000


def _run(network: nn.Module, rows: torch.Tensor) -> list[torch.Tensor]:
    rows = rows.clone().requires_grad_()
    output = network(rows)
    (output * torch.linspace(0, 1, output.shape[1:].numel()).view(output.shape[1:])).sum().backward()
    layer = network[0]
    return [output.detach(), rows.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("share", [5, 9], ids=["uneven", "a rank without rows"])
def test_equals_one_rank(ranks, kind, share):
    def on_rank(backend):
        network = convert(_network(kind), backend)
        rows = _rows(kind)
        mine = rows[:share] if backend.rank == 0 else rows[share:]
        results = _run(network, mine)
        network.eval()
        return [*results, network(rows)]

    first, second = ranks.run(on_rank)
    whole = _network(kind)
    output, inner, weight, bias, mean, variance = _run(whole, _rows(kind))
    whole.eval()
    close = {"rtol": 1e-4, "atol": 2e-4}
    torch.testing.assert_close(torch.cat((first[0], second[0])), output, **close)
    torch.testing.assert_close(torch.cat((first[1], second[1])), inner, **close)
    torch.testing.assert_close(first[2] + second[2], weight, **close)
    torch.testing.assert_close(first[3] + second[3], bias, **close)
    for rank in (first, second):
        torch.testing.assert_close(rank[4], mean, **close)
        torch.testing.assert_close(rank[5], variance, **close)
        torch.testing.assert_close(rank[6], whole(_rows(kind)), **close)


def test_cumulative_average_and_bfloat16(ranks):
    def on_rank(backend):
        network = convert(_network(nn.BatchNorm1d, None), backend)
        rows = _rows(nn.BatchNorm1d) - 1000
        for shift in (0.0, 1.0):
            network(rows + shift)
        half = network(rows.to(torch.bfloat16))
        return network[0].running_mean, half.dtype

    mean, dtype = ranks.run(on_rank)[0]
    whole = _network(nn.BatchNorm1d, None)
    rows = _rows(nn.BatchNorm1d) - 1000
    for shift in (0.0, 1.0, 0.0):
        whole(rows + shift)
    torch.testing.assert_close(mean, whole[0].running_mean, rtol=1e-2, atol=1e-2)
    assert dtype == torch.bfloat16


def test_statistics_are_averaged_by_rows(ranks):
    def on_rank(backend):
        network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
        network.register_buffer("seen", torch.tensor([backend.rank]))
        network[0].running_mean.fill_(float(backend.rank))
        network[0].running_var.fill_(10.0 * (backend.rank + 1))
        backend.average_statistics(network, 3 if backend.rank == 0 else 1)
        return network[0].running_mean, network[0].running_var, network.get_buffer("seen")

    for mean, variance, seen in ranks.run(on_rank):
        assert mean.tolist() == [0.25, 0.25]
        assert variance.tolist() == [12.5, 12.5]
        assert seen.tolist() == [0]


def test_one_value_for_a_channel(ranks):
    def on_rank(backend):
        network = convert(_network(nn.BatchNorm1d), backend)
        return network(torch.ones(1 - backend.rank, 4))

    for error in ranks.outcomes(on_rank):
        assert isinstance(error, ValueError)
        assert "more than one value" in str(error)


def test_conversion_shares_parameters_and_checks_dimensions(ranks):
    def on_rank(backend):
        network = _network(nn.BatchNorm2d)
        names = list(network.state_dict())
        weight = network[0].weight
        network.again = network[0]
        network = backend.synchronize_batch_norm(network)
        same = network[0].weight is weight and network.again is network[0]
        del network.again
        same = same and names == list(network.state_dict())
        try:
            network(torch.ones(3, 4))
        except ValueError as error:
            return same, type(network[0]).__name__, str(error)
        return None

    for same, name, error in ranks.run(on_rank):
        assert same
        assert name == RankBatchNorm.__name__
        assert "its input has 2" in error


class Reads(TorchDispatchMode):
    """Counts what makes the CPU wait for a number of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_rank_without_reads_is_torchs_own_layer(device, momentum):
    rows = _rows(nn.BatchNorm2d).to(device)
    network = convert(_network(nn.BatchNorm2d, momentum), SoloBackend()).to(device)
    whole = _network(nn.BatchNorm2d, momentum).to(device)
    for shift in (0.0, 1.0):
        with Reads() as reads:
            found = _run(network, rows + shift)
        assert reads.count == 0
        torch.testing.assert_close(found, _run(whole, rows + shift), rtol=1e-4, atol=2e-4)
