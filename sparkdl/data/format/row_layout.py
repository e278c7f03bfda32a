"""A row as bytes: all fields of a schema beside each other, in one numpy structured type.

Packed rows lie in one FIXED_LEN_BYTE_ARRAY column, so that decoding them is a copy of memory that is already
row-major.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.types import type_of
from sparkdl.errors import DataError
from sparkdl.schema import DataSchema

PACKING_VERSION = 1
COLUMN = "row"
"""The one column of a file of packed rows."""

_ALIGNMENT = 8
_GROUP_BYTES = 4 << 20
_GROUP_ROWS = 16_384
_PAGE_BYTES = 2 * _GROUP_BYTES

Rows = npt.NDArray[Any]
"""Packed rows, (n,) of a layout's `dtype`."""

Block = Rows | dict[str, npt.NDArray[Any]]
"""The values of some rows: packed, or of each slot, (n, *shape), called "0", "1", ... as the members of a row are."""


@dataclass(frozen=True)
class Slot:
    """Where a field lies in a row.

    Attributes
    ----------
    name : str
        Of the field.
    dtype : str
        As stored: "float32", "float64", "int64", "uint8", or `schema.ENTRY`.
    shape : tuple of int
        Of one row.
    offset : int
        Bytes from the start of the row, a multiple of the element's size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class RowLayout:
    """The bytes of a row: slots in the schema's order, padded to a multiple of 8 bytes."""

    slots: tuple[Slot, ...]
    row_bytes: int

    @classmethod
    def of(cls, schema: DataSchema) -> RowLayout:
        """Return the layout of a schema; DataError names a field whose shape is not known."""
        slots = []
        end = 0
        for field in schema.fields:
            if not field.known:
                raise DataError(f"field {field.name!r} has shape {field.shape}: no row has told its size yet")
            kind = type_of(field)
            item = np.dtype(kind.stored_dtype(field)).itemsize
            offset = -(-end // item) * item
            slots.append(Slot(field.name, kind.stored_dtype(field), kind.stored_shape(field), offset))
            end = offset + kind.stored_bytes(field)
        return cls(tuple(slots), max(_ALIGNMENT, -(-end // _ALIGNMENT) * _ALIGNMENT))

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The structured type; its members are called "0", "1", ... because a field may have any name."""
        return np.dtype(
            {
                "names": [str(index) for index in range(len(self.slots))],
                "formats": [(np.dtype(slot.dtype), slot.shape) for slot in self.slots],
                "offsets": [slot.offset for slot in self.slots],
                "itemsize": self.row_bytes,
            }
        )

    @property
    def group_rows(self) -> int:
        """Rows of a row group: some megabytes, few enough for a window of rows to hold several groups."""
        return max(1, min(_GROUP_ROWS, _GROUP_BYTES // self.row_bytes))

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of a file."""
        return pa.schema([pa.field(COLUMN, pa.binary(self.row_bytes), nullable=False)])

    def writer(self, sink: IO[bytes] | str | Path) -> pq.ParquetWriter:
        """Return a writer of a file of packed rows; a context manager.

        A row group that is written by one call is one page: nothing but its rows, as they lie in memory.
        """
        return pq.ParquetWriter(
            sink,
            self.arrow_schema,
            compression="NONE",
            use_dictionary=False,
            write_statistics=False,
            data_page_size=max(_PAGE_BYTES, 2 * self.row_bytes),
        )

    def pack(self, values: Mapping[str, npt.NDArray[Any]]) -> Rows:
        """Return rows, (n,) of `dtype`, from the (n, *shape) values of each field."""
        rows = np.zeros(len(next(iter(values.values()))), dtype=self.dtype)
        for index, slot in enumerate(self.slots):
            rows[str(index)] = values[slot.name]
        return rows

    def unpack(self, rows: Block) -> dict[str, npt.NDArray[Any]]:
        """Return the (n, *shape) values of each field, as views of the rows."""
        return {slot.name: rows[str(index)] for index, slot in enumerate(self.slots)}

    def empty(self, rows: int) -> list[npt.NDArray[Any]]:
        """Return one array (rows, *shape) for each slot, contiguous, not initialised."""
        return [np.empty((rows, *slot.shape), dtype=slot.dtype) for slot in self.slots]

    def to_table(self, parts: Sequence[Rows]) -> pa.Table:
        """Return packed rows as a table of one column, without a copy."""
        chunks = [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(self.row_bytes), len(part), [None, pa.py_buffer(part.view(np.uint8))]
            )
            for part in parts
        ]
        return pa.table([pa.chunked_array(chunks, pa.binary(self.row_bytes))], schema=self.arrow_schema)

    def from_table(self, table: pa.Table) -> Rows:
        """Return the rows of a table that was read from a file, without a copy where it is one chunk."""
        parts = [self._from_chunk(chunk) for chunk in table.column(0).chunks]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=self.dtype)

    def _from_chunk(self, chunk: pa.FixedSizeBinaryArray) -> Rows:
        if len(chunk) == 0:
            return np.empty(0, dtype=self.dtype)
        offset = chunk.offset * self.row_bytes
        return np.frombuffer(chunk.buffers()[1], dtype=self.dtype, count=len(chunk), offset=offset)


class Checksum:
    """Order-free sum of a 64-bit hash of each row; the same rows in any order and any files have the same sum."""

    def __init__(self, row_bytes: int) -> None:
        words = row_bytes // 8
        generator = np.random.Generator(np.random.Philox(PACKING_VERSION))
        self._factors = generator.integers(0, 1 << 63, words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._words = words
        self._sum = np.uint64(0)

    def add(self, rows: Rows) -> None:
        """Add packed rows, contiguous."""
        words = rows.view(np.uint64).reshape(len(rows), self._words)
        # Multiply-add over the words, then splitmix64's finalizer, so that swapped words and rows both count.
        with np.errstate(over="ignore"):
            mixed = words @ self._factors
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
            self._sum = self._sum + mixed.sum(dtype=np.uint64)

    @property
    def value(self) -> str:
        """Sixteen hexadecimal digits."""
        return f"{int(self._sum):016x}"
