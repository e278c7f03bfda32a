"""One batch ahead: order, ends and errors anywhere; and on a GPU what arrives there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.train import loop
from sparkdl.train.ahead import Placed, SideStream, one_ahead
from sparkdl.train.config import Batch, TrainConfig
from sparkdl.train.step import Network


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


@pytest.mark.parametrize("items", [0, 1, 2, 5])
def test_the_next_item_has_been_started_when_one_is_handed_out(items: int) -> None:
    source, started = Source(items), []

    def start(item: int) -> str:
        started.append(item)
        return f"<{item}>"

    handed_out = []
    for item in one_ahead(iter(source), start):
        handed_out.append(item)
        assert started == list(range(min(len(handed_out) + 1, items)))
    assert handed_out == [f"<{item}>" for item in range(items)]
    assert source.closed == 1


def test_the_source_is_closed_when_it_is_left_and_when_it_fails() -> None:
    source = Source(5)
    left = one_ahead(iter(source), str)
    assert next(left) == "0"
    left.close()
    assert source.closed == 1
    failing = Source(2, fails=True)
    with pytest.raises(ZeroDivisionError):
        list(one_ahead(iter(failing), str))
    assert failing.closed == 1


def test_a_start_that_fails_closes_the_source() -> None:
    source = Source(3)
    with pytest.raises(ZeroDivisionError):
        list(one_ahead(iter(source), lambda item: 1 // (1 - item)))
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


def test_a_fit_on_placed_batches_is_the_same_fit(memory_feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit(memory_feed)
    log: list[tuple[str, int]] = []

    def ahead(network: Network, batches: Iterator[Batch]) -> Iterator[Placed[Any]]:
        def place(batch: Batch) -> Placed[Any]:
            number = sum(what == "placed" for what, _ in log)
            log.append(("placed", number))
            rows = network._rows_of(batch)

            def arrived() -> Any:
                log.append(("arrived", number))
                return rows

            return Placed(batch.inputs, batch.targets, batch.weights, batch.planned_rows, batch.for_network, arrived)

        return one_ahead(batches, place)

    monkeypatch.setattr(Network, "ahead", ahead)
    placed = fit(memory_feed)
    assert all(torch.equal(placed.state[name], plain.state[name]) for name in plain.state)
    for ours, theirs in zip(placed.history, plain.history, strict=True):
        assert [ours[k] for k in ("loss", "val_loss", "rows")] == [theirs[k] for k in ("loss", "val_loss", "rows")]
    # 3 epochs of 5 steps and 3 measured batches.
    assert [number for what, number in log if what == "arrived"] == list(range(24))
    assert log[:4] == [("placed", 0), ("placed", 1), ("arrived", 0), ("placed", 2)]


def test_on_a_cpu_batches_stay_as_they_are(memory_feed: Any) -> None:
    network = Network(nn.Linear(4, 1), TrainConfig(), torch.device("cpu"))
    batches = memory_feed(torch.ones(3, 4), torch.ones(3, 1)).epoch(0)
    assert network.ahead(batches) is batches


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_rows_arrive_whole_and_a_fit_learns_the_same(memory_feed: Any) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    side = SideStream(device)
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 3]]), torch.tensor([1.0, 2.0]), (3, 4))
    for value in range(20):
        (batch,) = memory_feed(torch.full((1000, 1000), float(value)), torch.ones(1000, 1), batch=1000).epoch(0)
        dense = side.start(batch, lambda b: b.inputs[0].pin_memory().to(device, non_blocking=True), lambda t: (t,))
        assert dense.arrived().unique().tolist() == [value]
    (batch,) = memory_feed(sparse.to_dense(), torch.ones(3, 1)).epoch(0)
    there = side.start(batch, lambda _: sparse.to(device, non_blocking=True), lambda t: (t,)).arrived()
    assert torch.equal(there.to_dense().cpu(), sparse.to_dense())
    on_cpu, on_gpu = fit(memory_feed), fit(memory_feed, "cuda")
    for name, tensor in on_cpu.state.items():
        torch.testing.assert_close(on_gpu.state[name].cpu(), tensor)
