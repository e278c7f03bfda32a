"""Batches on their way to the device: what of them counts, ends anywhere; and on a GPU what arrives there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.data.loading.buffer_pool import Recycled
from sparkdl.train import loop
from sparkdl.train.config import TrainConfig
from sparkdl.train.device_copy import SideStream
from sparkdl.train.device_network import DeviceNetwork

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Source:
    """Batches of one row, and what has become of them."""

    def __init__(self, batches: Iterator[Any], fails_behind: int | None = None) -> None:
        self.batches, self.fails_behind, self.closed = batches, fails_behind, 0

    def __iter__(self) -> Iterator[Any]:
        try:
            for number, batch in enumerate(self.batches):
                if number == self.fails_behind:
                    raise ZeroDivisionError
                yield batch
        finally:
            self.closed += 1


def source_of(memory_feed: Any, fails_behind: int | None = None) -> Source:
    return Source(memory_feed(torch.arange(8.0).view(4, 2), torch.ones(4, 1), batch=1).epoch(0), fails_behind)


def test_the_source_is_closed_when_it_is_left_and_when_it_fails(memory_feed: Any) -> None:
    network = DeviceNetwork(nn.Linear(2, 1), TrainConfig(), torch.device("cpu"))
    source = source_of(memory_feed)
    left = network.on_device(iter(source))
    assert next(left).inputs[0].tolist() == [[0.0, 1.0]]
    left.close()
    assert source.closed == 1
    failing = source_of(memory_feed, 2)
    with pytest.raises(ZeroDivisionError):
        list(network.on_device(iter(failing)))
    assert failing.closed == 1


def test_a_batch_that_cannot_be_taken_closes_the_source(memory_feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = DeviceNetwork(nn.Linear(2, 1), TrainConfig(), torch.device("cpu"))
    source = source_of(memory_feed)
    monkeypatch.setattr(network, "_copied", lambda batch: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        next(network.on_device(iter(source)))
    assert source.closed == 1


def fit(memory_feed: Any, device: str = "cpu") -> loop.FitResult:
    drawn = torch.Generator().manual_seed(3)
    inputs = torch.randn(47, 4, generator=drawn)
    targets, weights = inputs.sum(1, keepdim=True), torch.rand(47, generator=drawn).round(decimals=1)
    weights[::7] = 0
    torch.manual_seed(5)
    feed, held = memory_feed(inputs, targets, weights), memory_feed(inputs[:25], targets[:25])
    config = TrainConfig(epochs=3, learning_rate=0.05, accumulation_steps=2, device=device)
    return loop.fit(nn.Linear(4, 1), config, feed, held, SoloBackend())


def test_on_a_cpu_a_batch_is_taken_as_it_is_and_none_ahead(memory_feed: Any) -> None:
    network = DeviceNetwork(nn.Linear(4, 1), TrainConfig(), torch.device("cpu"))
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0])
    batches = memory_feed(torch.arange(16.0).view(4, 4), torch.ones(4, 1), weights, batch=2).epoch(0)
    arriving = network.on_device(batches)
    first = next(arriving)
    assert (first.count, first.rows, first.planned_rows) == (1, 2, 2)
    assert first.inputs[0].tolist() == [[0.0, 1.0, 2.0, 3.0]]
    (second,) = arriving
    assert (second.count, second.rows) == (2, 2)
    assert [len(tensor) for tensor in second.tensors()] == [2, 2, 2]


@gpu
def test_on_a_gpu_rows_arrive_whole() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    side = SideStream(device)
    for value in range(20):
        assert side.send([torch.full((1000, 1000), float(value))])[0].unique().tolist() == [value]
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 3]]), torch.tensor([1.0, 2.0]), (3, 4))
    numbers, empty = torch.arange(6).view(2, 3).T, torch.empty(0, 5)
    sent = side.send([sparse, numbers, empty])
    assert torch.equal(sent[0].to_dense().cpu(), sparse.to_dense())
    assert torch.equal(sent[1].cpu(), numbers)
    assert sent[1].stride() == numbers.stride()
    assert sent[2].shape == (0, 5)


@gpu
def test_pinned_memory_is_not_filled_again_before_it_is_copied() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    side, recycled = SideStream(device), Recycled((1 << 20,), "float32", pinned=True)
    arrived = []
    for value in range(40):
        array = recycled.take(8)
        array[:] = np.float32(value)
        arrived.append(side.send([torch.from_numpy(array)])[0].sum(dtype=torch.float64))
        del array
    assert [float(total) for total in arrived] == [value * 8.0 * (1 << 20) for value in range(40)]
    assert len(recycled._arrays) <= 3


@gpu
def test_few_batches_lie_on_the_gpu_however_far_the_cpu_could_run_ahead() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    side, rows = SideStream(device), torch.zeros(16, 1 << 20).pin_memory()
    factor = torch.ones(2048, 2048, device=device)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()["active_bytes.all.current"]
    for _ in range(20):
        (batch,) = side.send([rows])
        for _ in range(100):
            factor = factor @ factor
        batch.sum()
    most = torch.cuda.memory_stats()["active_bytes.all.peak"]
    assert most - before < 5 * rows.numel() * rows.element_size()


@gpu
def test_on_a_gpu_a_fit_learns_the_same(memory_feed: Any) -> None:
    on_cpu, on_gpu = fit(memory_feed), fit(memory_feed, "cuda")
    for name, tensor in on_cpu.state.items():
        torch.testing.assert_close(on_gpu.state[name].cpu(), tensor)
