"""Loaders that read spool files, of this host and of others, get the batches of loaders that read Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from sparkdl.cluster.rpc import derived
from sparkdl.cluster.spool.spool_file import SPOOL, RankSpoolSource, SpoolFile
from sparkdl.data.direct.spooling import ingest_rows
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.readers import PETASTORM, ReaderMaker
from sparkdl.data.readers.spool import Spooled
from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import DataError
from tests.data.direct.blocks import packed, written

TASKS = 3
PACKED = packed()


@pytest.fixture
def spool_sources() -> Iterator[list[RankSpoolSource]]:
    """Three tasks on hosts of their own; the rank is on the first one, and block n is where n % 3 says."""
    blocks, _, expected = PACKED
    with ExitStack() as stack:
        held = []
        for task in range(TASKS):
            spool_file = stack.enter_context(closing(SpoolFile("secret", 20.0)))
            index = ingest_rows(blocks[task::TASKS], spool_file.descriptor, expected.to_json())
            offer = {**spool_file.offer("127.0.0.1", index), "host": f"host{task}", "address": "127.0.0.1"}
            held.append(stack.enter_context(closing(RankSpoolSource(offer, derived("secret", SPOOL), "host0", 20.0))))
        assert [each.local for each in held] == [True, False, False]
        yield held


def every_batch(manifest: Manifest, reader: str | ReaderMaker, size: int, shuffle: bool) -> list[Batch]:
    plan = Plan.of(manifest, batch_size=64, seed=3, shuffle=shuffle, window=2000)
    found = []
    for rank in range(size):
        with closing(Loader(manifest, plan, rank, size, reader=reader, threads=2)) as loader:
            found += [batch for epoch in range(2) for batch in loader.epoch(epoch)]
    return found


def same(one: list[Batch], two: list[Batch]) -> bool:
    def tensors(batch: Batch) -> list[torch.Tensor]:
        assert batch.weights is not None
        return [*batch.inputs, *batch.targets, batch.weights]

    assert len(one) == len(two) > 0
    return all(
        a.planned_rows == b.planned_rows and all(map(torch.equal, tensors(a), tensors(b)))
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("size", [1, 2])
def test_the_batches_are_those_of_parquet_bit_for_bit(
    tmp_path: Path, spool_sources: list[RankSpoolSource], size: int
) -> None:
    parquet, direct = written(tmp_path), PACKED[1]
    spooled = Spooled(spool_sources, direct)
    for split, shuffle in ((0, True), (1, False)):
        expected = every_batch(parquet[split], PETASTORM, size, shuffle)
        assert same(every_batch(direct[split], spooled.reader(split), size, shuffle), expected)


def test_a_lost_host_is_named_with_the_block(spool_sources: list[RankSpoolSource]) -> None:
    for held in spool_sources[1:]:
        held._address = ("127.0.0.1", 1)
    with pytest.raises(
        DataError, match=r"block \d of the train rows of partition 0, which host host[12] holds, cannot"
    ):
        every_batch(PACKED[1][0], Spooled(spool_sources, PACKED[1]).reader(0), 1, True)


def test_a_spool_file_that_is_too_short_is_an_error(spool_sources: list[RankSpoolSource]) -> None:
    held = spool_sources[0]
    held.close()
    with open(os.devnull, "rb") as nothing:
        held._descriptor = os.dup(nothing.fileno())
        with pytest.raises(DataError, match="host host0 holds, cannot be read: .* has no"):
            every_batch(PACKED[1][0], Spooled(spool_sources, PACKED[1]).reader(0), 1, True)


def spool_of(task: int, blocks: list[pa.RecordBatch], stack: ExitStack) -> RankSpoolSource:
    spool_file = stack.enter_context(closing(SpoolFile("secret", 20.0)))
    index = ingest_rows(blocks, spool_file.descriptor, PACKED[2].to_json())
    offer = {**spool_file.offer("127.0.0.1", index), "host": f"host{task}", "address": "127.0.0.1"}
    return stack.enter_context(closing(RankSpoolSource(offer, derived("secret", SPOOL), "host0", 20.0)))


def test_blocks_that_no_task_has_or_that_two_have_are_refused_before_training() -> None:
    blocks, splits, _ = PACKED
    with ExitStack() as stack:
        first, rest, all_but_one = (
            spool_of(task, part, stack) for task, part in enumerate((blocks[:1], blocks[1:], blocks[1:-1]))
        )
        with pytest.raises(DataError, match=f"1 of the {len(blocks)} blocks that were counted came to no task.*other"):
            Spooled([first, all_but_one], splits)
        with pytest.raises(DataError, match="the task on host host0 holds a block that another one holds too"):
            Spooled([rest, first, first], splits)
