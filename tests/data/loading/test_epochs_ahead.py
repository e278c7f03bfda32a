"""The loader that knows how many epochs come: the next one is read ahead, and no batch is another for it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import Block, RowLayout
from sparkdl.data.loading import loader as loader_module
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.loading.shuffle_buffer import Read
from sparkdl.data.readers.thread_pool import ArrowReader
from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import DataError
from sparkdl.schema import INPUT, SCALAR, DataSchema, Field

SCHEMA = DataSchema((Field("id", INPUT, SCALAR, ("id",), "int64", (1,)),))
counter = itertools.count()


def write(folder: Path, groups: list[int]) -> Manifest:
    """One file with row groups of these sizes; the rows are numbered."""
    folder.mkdir()
    layout, path, first = RowLayout.of(SCHEMA), folder / "part-0.parquet", 0
    with layout.writer(path) as writer:
        for rows in groups:
            writer.write_table(layout.to_table([layout.pack({"id": np.arange(first, first + rows)[:, None]})]))
            first += rows
    return Manifest(str(folder), SCHEMA, (DataFile(path.name, 0, 0, tuple(groups), path.stat().st_size),))


def ids_of(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.inputs[0][:, 0].tolist() for batch in batches]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    groups=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    batch_size=st.integers(1, 40),
    shuffle=st.booleans(),
    epochs=st.integers(1, 4),
    ranks=st.integers(1, 3),
    prefetch=st.integers(1, 3),
    data=st.data(),
)
def test_every_row_once_in_each_epoch_wherever_it_starts_and_is_left(
    tmp_path: Path,
    groups: list[int],
    batch_size: int,
    shuffle: bool,
    epochs: int,
    ranks: int,
    prefetch: int,
    data: st.DataObject,
) -> None:
    manifest = write(tmp_path / str(next(counter)), groups)
    plan = Plan.of(manifest, batch_size=batch_size, seed=3, shuffle=shuffle, window=40)
    first = data.draw(st.integers(0, epochs - 1), label="first epoch")
    start = data.draw(st.integers(0, plan.steps), label="first step")
    left = data.draw(st.integers(0, plan.steps - 1), label="step at which an epoch is left, and asked for again")
    every: list[list[int]] = [[] for _ in range(epochs)]
    for rank in range(ranks):
        with closing(Loader(manifest, plan, rank, ranks, reader="arrow")) as plain:
            expected = [ids_of(plain.epoch(epoch)) for epoch in range(epochs)]
        with closing(Loader(manifest, plan, rank, ranks, reader="arrow", epochs=epochs, prefetch=prefetch)) as loader:
            for epoch in range(first, epochs):
                begin = start if epoch == first else 0
                assert ids_of(loader.epoch(epoch, begin)) == expected[epoch][begin:]
            again = loader.epoch(0)
            assert ids_of(itertools.islice(again, left)) == expected[0][:left]
            # Not closed, as `again` still is here.
            for epoch in range(epochs):
                assert ids_of(loader.epoch(epoch)) == expected[epoch]
        for epoch in range(epochs):
            every[epoch] += itertools.chain(*expected[epoch])
    assert all(sorted(ids) == list(range(sum(groups))) for ids in every)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("reader", ["arrow", "petastorm"])
def test_the_next_epoch_is_read_before_it_is_asked_for_and_no_further_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, shuffle: bool
) -> None:
    monkeypatch.setattr(loader_module, "_RUN_BYTES", 1)
    made: list[int] = []
    original = Loader._to_batches
    monkeypatch.setattr(Loader, "_to_batches", lambda self, run, step: made.append(step) or original(self, run, step))
    manifest = write(tmp_path / "rows", [10] * 10)
    plan = Plan.of(manifest, batch_size=10, shuffle=shuffle)
    loader = Loader(manifest, plan, 0, 1, reader=reader, epochs=2, prefetch=2)
    # One that is only measured asks for its first epoch each time.
    numbers = (0, 1) if shuffle else (0, 0)
    assert len(ids_of(loader.epoch(numbers[0]))) == 10
    waited = loader.wait_seconds
    assert waited > 0
    until(lambda: len(made) == 13)
    # Two wait, one is in the thread's hand.
    time.sleep(0.1)
    assert len(made) == 13
    second = loader.epoch(numbers[1])
    next(second)
    assert loader.wait_seconds < waited
    assert len(list(second)) == 9
    assert made == [*range(10), *range(10)]
    assert loader._running is not None
    assert not loader._running._thread.is_alive()
    loader.close()


class BreaksOnce(ArrowReader):
    """Reads one epoch; the second one fails, and those after it do not."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.begun = 0

    def blocks(self, reads: Iterable[Read]) -> Iterator[Block]:
        self.begun += 1
        if self.begun == 2:
            raise DataError("the disk is gone")
        return super().blocks(reads)


def test_what_fails_in_the_epoch_ahead_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [10] * 4)
    loader = Loader(manifest, Plan.of(manifest, batch_size=10), 0, 1, reader=BreaksOnce, epochs=3)
    assert len(ids_of(loader.epoch(0))) == 4
    with pytest.raises(DataError, match="the disk is gone"):
        next(loader.epoch(1))
    assert len(ids_of(loader.epoch(1))) == 4
    assert len(ids_of(loader.epoch(2))) == 4
    loader.close()


def test_closing_ends_what_is_read_ahead_and_an_epoch_after_it_is_whole(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    manifest = write(tmp_path / "rows", [50] * 20)
    loader = Loader(manifest, Plan.of(manifest, batch_size=10, window=64), 0, 1, reader="arrow", threads=2, epochs=3)
    whole = [ids_of(loader.epoch(epoch)) for epoch in range(2)]
    loader.close()
    until(lambda: set(threading.enumerate()) <= before)
    assert ids_of(loader.epoch(1)) == whole[1]
    assert sorted(itertools.chain(*ids_of(loader.epoch(2)))) == list(range(1000))
    loader.close()
