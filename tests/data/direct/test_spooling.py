"""Blocks in and out of spool files: what arrives is what was packed, in whatever order, or it is refused by name."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sparkdl.data.direct.blocks import Blocks, first_blocks, from_index
from sparkdl.data.direct.spooling import ingest_rows
from sparkdl.errors import DataError
from tests.data.direct.blocks import PIECE, packed, written

PACKED = packed()


@pytest.fixture
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def pieces(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    return batch.take(pa.array(rows))


def bytes_of(batch: pa.RecordBatch) -> bytes:
    return b"".join(batch.column("data").to_pylist())


def test_both_feeds_pack_the_same_row_groups(tmp_path: Path) -> None:
    blocks, direct, expected = PACKED
    parquet = written(tmp_path)
    assert [split.hash for split in direct] == [split.hash for split in parquet]
    assert [split.counts for split in direct] == [split.counts for split in parquet]
    groups = [rows for split in direct for file in split.files for rows in file.row_groups]
    assert len(groups) == len(blocks) > 4
    assert [rows for file in expected.files for rows in file.rows] == groups
    assert max(len(data) for batch in blocks for data in batch.column("data").to_pylist()) == PIECE


def test_what_is_spooled_is_what_was_packed_in_whatever_order_it_comes(descriptor: int) -> None:
    blocks, _, expected = PACKED
    rng = random.Random(4)
    mixed = []
    for batch in blocks:
        order = list(range(batch.num_rows))
        rng.shuffle(order)
        cut = rng.randrange(1, batch.num_rows)
        mixed += [pieces(batch, order[:cut]), pieces(batch, order[cut:])]
    rng.shuffle(mixed)
    index = from_index(ingest_rows(mixed, descriptor, Blocks.from_json(expected.to_json()).to_json()))

    firsts = first_blocks(file.rows for file in expected.files)
    numbers = {(f.split, f.partition): first for f, first in zip(expected.files, firsts, strict=False)}
    by_number = {}
    for batch in blocks:
        split, partition, sequence = (batch.column(name)[0].as_py() for name in ("split", "partition", "sequence"))
        by_number[numbers[split, partition] + sequence] = bytes_of(batch)
    assert sorted(index) == list(range(len(blocks)))
    whole = b"".join(by_number[number] for number in index.tolist())
    assert os.pread(descriptor, len(whole) + 1, 0) == whole


def test_several_blocks_in_one_batch_and_wide_offsets(descriptor: int) -> None:
    blocks, _, expected = PACKED
    table = pa.Table.from_batches(blocks)
    wide = table.set_column(4, "data", table.column("data").cast(pa.large_binary())).combine_chunks().to_batches()
    assert len(wide) == 1
    index = ingest_rows([blocks[0].slice(0, 0), wide[0].slice(0, 3), wide[0].slice(3)], descriptor, expected.to_json())
    assert sorted(from_index(index)) == list(range(len(blocks)))


def test_no_blocks_are_no_blocks(descriptor: int) -> None:
    assert len(from_index(ingest_rows([], descriptor, PACKED[2].to_json()))) == 0


def test_other_rows_are_refused(descriptor: int) -> None:
    other, _, _ = packed(other=1.0)
    with pytest.raises(DataError, match="block 0 of the train rows of partition 0 has the checksum .*other rows"):
        ingest_rows(other, descriptor, PACKED[2].to_json())


def changed(batch: pa.RecordBatch, column: str, value: int) -> pa.RecordBatch:
    place = batch.schema.get_field_index(column)
    return batch.set_column(place, column, pa.array(np.full(batch.num_rows, value, dtype=np.int32)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("sequence", 99, "block 99 of the train rows of partition 0 was not counted"),
        ("partition", 1, "block 0 of the train rows of partition 1 was not counted"),
        ("split", 5, "block 0 of the split 5 rows of partition 0 was not counted"),
    ],
)
def test_a_block_that_was_not_counted_is_refused(descriptor: int, column: str, value: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ingest_rows([changed(PACKED[0][0], column, value)], descriptor, PACKED[2].to_json())


def test_a_block_that_comes_twice_is_refused(descriptor: int) -> None:
    block = PACKED[0][0]
    with pytest.raises(DataError, match="block 0 of the train rows of partition 0 came twice"):
        ingest_rows([block, block], descriptor, PACKED[2].to_json())


def test_a_block_without_its_end_is_refused(descriptor: int) -> None:
    block = PACKED[0][0]
    with pytest.raises(DataError, match="block 0 of the train rows of partition 0 is not whole"):
        ingest_rows([block.slice(0, block.num_rows - 1)], descriptor, PACKED[2].to_json())


def test_a_block_with_more_rows_is_refused(descriptor: int) -> None:
    block = PACKED[0][0]
    more = pa.concat_batches([block, changed(block.slice(0, 1), "part", block.num_rows)])
    with pytest.raises(DataError, match="has more than the .* rows that were counted"):
        ingest_rows([more], descriptor, PACKED[2].to_json())


def test_a_full_disk_is_an_error_of_the_file() -> None:
    full = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="No space left"):
            ingest_rows(PACKED[0], full, PACKED[2].to_json())
    finally:
        os.close(full)
