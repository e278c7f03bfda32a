"""What a task does with the blocks that it gets: they go to its spool file, and are compared with what was counted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sparkdl.data.convert import arrow
from sparkdl.data.direct.blocks import Blocks, first_blocks, other_rows, to_index
from sparkdl.data.format.row_layout import Checksum


def ingest_rows(batches: Iterable[pa.RecordBatch], descriptor: int, arguments: Mapping[str, Any]) -> str:
    """Put the blocks of all batches into a file; return which they are, in the order in which they lie there.

    Parameters
    ----------
    batches : iterable of RecordBatch
        Pieces of blocks, in any order.
    descriptor : int
        Of an empty file that can be written and read.
    arguments : mapping
        `Blocks.to_json`.

    Returns
    -------
    str
        For `from_index`.

    Raises
    ------
    DataError
        A block is not one of those that were counted, has other rows, comes twice, or is not whole.
    OSError
        The file cannot be written.
    """
    spool = Spool(descriptor, Blocks.from_json(arguments))
    for batch in batches:
        spool.add(batch)
    return spool.finish()


class Spool:
    """One spool file while it fills: blocks one after the other, in the order of their first pieces.

    Parameters
    ----------
    descriptor : int
    blocks : Blocks
    """

    def __init__(self, descriptor: int, blocks: Blocks) -> None:
        self._descriptor = descriptor
        self._blocks = blocks
        firsts = first_blocks(file.rows for file in blocks.files)
        self._files = {(f.split, f.partition): (f, first) for f, first in zip(blocks.files, firsts, strict=False)}
        self._order: list[int] = []
        self._end = 0
        self._open: dict[tuple[int, int, int], list[int]] = {}
        self._whole: set[tuple[int, int, int]] = set()

    def add(self, batch: pa.RecordBatch) -> None:
        """Put the pieces of one batch where they belong; those that follow each other by one call."""
        if batch.num_rows == 0:
            return
        split, partition, sequence, part = (
            arrow.to_numpy(batch.column(name)).astype(np.int64) for name in ("split", "partition", "sequence", "part")
        )
        offsets, data = _binary(batch.column("data"))
        follows = np.ones(batch.num_rows, dtype=bool)
        follows[0] = False
        for column in (split, partition, sequence):
            follows[1:] &= column[1:] == column[:-1]
        follows[1:] &= part[1:] == part[:-1] + 1
        starts = np.flatnonzero(~follows)
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), batch.num_rows], strict=True):
            name = (int(split[start]), int(partition[start]), int(sequence[start]))
            self._put(name, int(part[start]), data[int(offsets[start]) : int(offsets[stop])])

    def finish(self) -> str:
        """Return the index of the file."""
        if self._open:
            raise other_rows(f"{_shown(next(iter(self._open)))} is not whole")
        return to_index(self._order)

    def _put(self, name: tuple[int, int, int], part: int, data: memoryview) -> None:
        rows, _ = self._expected(name)
        size = rows * self._blocks.row_bytes
        if name in self._whole:
            raise other_rows(f"{_shown(name)} came twice")
        if name not in self._open:
            self._open[name] = [self._end, 0]
            self._end += size
            self._order.append(self._files[name[:2]][1] + name[2])
        offset, received = self._open[name]
        inside = part * self._blocks.piece_bytes
        if inside + len(data) > size or received + len(data) > size:
            raise other_rows(f"{_shown(name)} has more than the {rows} rows that were counted")
        write_all(self._descriptor, data, offset + inside)
        self._open[name][1] = received + len(data)
        if received + len(data) == size:
            self._compare(name, offset, size)

    def _compare(self, name: tuple[int, int, int], offset: int, size: int) -> None:
        """Read a block as a rank will."""
        _, expected = self._expected(name)
        checksum = Checksum(self._blocks.row_bytes)
        rows = np.frombuffer(os.pread(self._descriptor, size, offset), dtype=f"V{self._blocks.row_bytes}")
        checksum.add(rows)
        if checksum.value != expected:
            raise other_rows(f"{_shown(name)} has the checksum {checksum.value}, {expected} was counted")
        del self._open[name]
        self._whole.add(name)

    def _expected(self, name: tuple[int, int, int]) -> tuple[int, str]:
        """Rows and checksum of a block."""
        file = self._files.get(name[:2])
        if file is None or not 0 <= name[2] < len(file[0].rows):
            raise other_rows(f"{_shown(name)} was not counted")
        return file[0].rows[name[2]], file[0].checksums[name[2]]


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write bytes at a place of a file, all of them."""
    while len(data):
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _shown(name: tuple[int, int, int]) -> str:
    split = ("train", "validation")[name[0]] if name[0] in (0, 1) else f"split {name[0]}"
    return f"block {name[2]} of the {split} rows of partition {name[1]}"


def _binary(column: pa.Array) -> tuple[np.ndarray[Any, Any], memoryview]:
    """Offsets and bytes of a column of bytes, without a copy."""
    large = pa.types.is_large_binary(column.type)
    _, offsets, data = column.buffers()
    found = np.frombuffer(offsets, dtype=np.int64 if large else np.int32)[
        column.offset : column.offset + len(column) + 1
    ]
    return found, memoryview(b"" if data is None else data)
