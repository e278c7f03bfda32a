"""One task that packs rows for a direct feed: Arrow batches in, blocks of packed rows and counts out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.data.convert import arrow
from sparkdl.data.format.row_layout import RowLayout, Rows
from sparkdl.data.write.pack_task import TRAIN, VALIDATION, RowTask, SplitPacker

BLOCK_COLUMNS = ("split", "partition", "sequence")
"""What names a block; its pieces agree in them."""
RESULT_SCHEMA = "split int, partition int, sequence int, part int, data binary, entry string"
SPLITS = (TRAIN, VALIDATION)
"""The column "split" is a place in it."""

_WORD = 1 << 64


@dataclass(frozen=True)
class BlockTask(RowTask):
    """Packs the rows of one partition; called with its Arrow batches by ``mapInArrow``.

    Yields the pieces of blocks, (split, partition, sequence, part, data), then one row of JSON in "entry" for each
    split that has rows.

    Attributes
    ----------
    piece_bytes : int
        Bytes of a piece of a block. Spark puts thousands of rows into one Arrow batch, whatever their size.
    """

    piece_bytes: int = 1 << 12

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pack the rows."""
        from pyspark import TaskContext

        context = TaskContext.get()
        yield from self.pack(batches, 0 if context is None else context.partitionId())

    def pack(self, batches: Iterator[pa.RecordBatch], partition: int) -> Iterator[pa.RecordBatch]:
        """Yield one Arrow batch for each block, the last one with the entries."""
        splits = {split: BlockPacker(self, split, partition) for split in SPLITS}
        others: list[dict[str, Any]] = []
        for _ in self.deal(batches, partition, splits, others):
            for packer in splits.values():
                yield from packer.take()
        for packer in splits.values():
            packer.finish()
            yield from packer.take()
        packed = [
            {
                "split": split,
                "file": packer.entry(partition),
                "counts": packer.counts(),
                "checksums": packer.checksums,
                "rowBytes": packer.row_bytes,
            }
            for split, packer in splits.items()
            if packer.seen
        ]
        if packed or others:
            yield _entries([json.dumps(entry) for entry in (*packed, *others)])


class BlockPacker(SplitPacker):
    """The blocks of one split of one partition, taken away as they fill.

    Parameters
    ----------
    task : BlockTask
    split : str
    partition : int
    """

    def __init__(self, task: BlockTask, split: str, partition: int) -> None:
        super().__init__(task, f"{split} rows of partition {partition}")
        self.checksums: list[str] = []
        self.row_bytes = 0
        self._split = SPLITS.index(split)
        self._partition = partition
        self._piece_bytes = task.piece_bytes
        self._ready: list[pa.RecordBatch] = []
        self._summed = 0

    def take(self) -> list[pa.RecordBatch]:
        """Return the blocks that are full and were not taken yet."""
        ready, self._ready = self._ready, []
        return ready

    def _begin(self, layout: RowLayout) -> None:
        self.row_bytes = layout.row_bytes

    def _put(self, layout: RowLayout, parts: Sequence[Rows], count: int) -> None:
        assert self._checksum is not None
        total = int(self._checksum.value, 16)
        # The checksum of the whole is a sum over its rows, so that of a block is what it has added.
        self.checksums.append(f"{(total - self._summed) % _WORD:016x}")
        self._summed = total
        data = np.concatenate([part.view(np.uint8) for part in parts]) if len(parts) > 1 else parts[0].view(np.uint8)
        self.bytes += len(data)
        self._ready.append(self._pieces(data, len(self.checksums) - 1))

    def _pieces(self, data: npt.NDArray[np.uint8], sequence: int) -> pa.RecordBatch:
        count = -(-len(data) // self._piece_bytes)
        offsets = np.minimum(np.arange(count + 1, dtype=np.int64) * self._piece_bytes, len(data)).astype(np.int32)
        numbers = [np.full(count, value, dtype=np.int32) for value in (self._split, self._partition, sequence)]
        pieces = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
        columns = [*map(arrow.from_numpy, (*numbers, np.arange(count, dtype=np.int32))), pieces]
        return _batch([*columns, pa.nulls(count, pa.string())])


def _entries(entries: list[str]) -> pa.RecordBatch:
    nothing = [pa.nulls(len(entries), pa.int32())] * 4
    return _batch([*nothing, pa.nulls(len(entries), pa.binary()), arrow.from_strings(entries)])


def _batch(columns: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, names=[*BLOCK_COLUMNS, "part", "data", "entry"])
