"""Batches ahead: order, ends and errors anywhere; and on a GPU what arrives there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.train import loop
from sparkdl.train.config import FeedBatch, TrainConfig
from sparkdl.train.device_copy import DeviceBatch, SideStream, started_ahead
from sparkdl.train.device_network import DeviceNetwork


class Source:
    """Counts up, and says what has become of it."""

    def __init__(self, items: int, fails: bool = False) -> None:
        self.items, self.fails, self.closed = items, fails, 0

    def __iter__(self) -> Iterator[int]:
        try:
            yield from range(self.items)
            if self.fails:
                raise ZeroDivisionError
        finally:
            self.closed += 1


@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("items", [0, 1, 2, 5])
def test_the_next_items_have_been_started_when_one_is_handed_out(items: int, ahead: int) -> None:
    source, started = Source(items), []

    def start(item: int) -> str:
        started.append(item)
        return f"<{item}>"

    handed_out = []
    for item in started_ahead(iter(source), start, ahead):
        handed_out.append(item)
        assert started == list(range(min(len(handed_out) + ahead, items)))
    assert handed_out == [f"<{item}>" for item in range(items)]
    assert source.closed == 1


def test_the_source_is_closed_when_it_is_left_and_when_it_fails() -> None:
    source = Source(5)
    left = started_ahead(iter(source), str, 1)
    assert next(left) == "0"
    left.close()
    assert source.closed == 1
    failing = Source(2, fails=True)
    with pytest.raises(ZeroDivisionError):
        list(started_ahead(iter(failing), str, 1))
    assert failing.closed == 1


def test_a_start_that_fails_closes_the_source() -> None:
    source = Source(3)
    with pytest.raises(ZeroDivisionError):
        list(started_ahead(iter(source), lambda item: 1 // (1 - item), 1))
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


def test_a_fit_on_batches_that_arrive_later_is_the_same_fit(memory_feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit(memory_feed)
    log: list[tuple[str, int]] = []

    def on_device(network: DeviceNetwork, batches: Iterator[FeedBatch]) -> Iterator[DeviceBatch]:
        def start(batch: FeedBatch) -> DeviceBatch:
            number = sum(what == "started" for what, _ in log)
            log.append(("started", number))
            return replace(network._copied(batch), wait=lambda: log.append(("arrived", number)))

        return started_ahead(batches, start, 1)

    monkeypatch.setattr(DeviceNetwork, "on_device", on_device)
    late = fit(memory_feed)
    assert all(torch.equal(late.state[name], plain.state[name]) for name in plain.state)
    for ours, theirs in zip(late.history, plain.history, strict=True):
        assert [ours[k] for k in ("loss", "val_loss", "rows")] == [theirs[k] for k in ("loss", "val_loss", "rows")]
    # 3 epochs of 5 steps and 3 measured batches.
    assert [number for what, number in log if what == "arrived"] == list(range(24))
    assert log[:4] == [("started", 0), ("started", 1), ("arrived", 0), ("started", 2)]


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_rows_arrive_whole_and_a_fit_learns_the_same(memory_feed: Any) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    side = SideStream(device)

    def sent(tensor: torch.Tensor) -> torch.Tensor:
        start = side.start(lambda: DeviceBatch((tensor.to(device, non_blocking=True),), (), None, 1, 1, 1))
        start.wait()
        return start.inputs[0]

    for value in range(20):
        assert sent(torch.full((1000, 1000), float(value)).pin_memory()).unique().tolist() == [value]
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 3]]), torch.tensor([1.0, 2.0]), (3, 4))
    assert torch.equal(sent(sparse).to_dense().cpu(), sparse.to_dense())
    on_cpu, on_gpu = fit(memory_feed), fit(memory_feed, "cuda")
    for name, tensor in on_cpu.state.items():
        torch.testing.assert_close(on_gpu.state[name].cpu(), tensor)
