"""Row groups of Parquet that exists already: columns in, blocks of a row's fields out.

A row group may be far larger than what a window takes of it at a time. It is decoded once, whole (pyarrow's own way of
decoding in pieces can wait for itself where its pool has one thread), and kept until its last piece has been taken.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.convert import arrow
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import Block
from sparkdl.data.loading.shuffle_buffer import Target, Values
from sparkdl.data.readers.packed import RowGroupFiles
from sparkdl.data.sampling.plan import RowRange
from sparkdl.data.types import type_of
from sparkdl.errors import DataError
from sparkdl.schema import Field

Rows = Values | Sequence[Values]
"""One array for all rows, or one for each."""

CACHE_BYTES = 2 << 30
"""Decoded row groups of which pieces are still to come; beyond it the least recently used are decoded again."""


class ColumnFiles(RowGroupFiles):
    """Reads ranges of rows from columns."""

    def __init__(self, manifest: Manifest, storage_options: Mapping[str, Any]) -> None:
        super().__init__(manifest, storage_options)
        self._fields = manifest.schema.fields
        self._columns = tuple(dict.fromkeys(name for field in self._fields for name in field.columns))
        self._groups_in_use = _DecodedGroups()

    def read(self, wanted: RowRange, target: Target | None = None) -> Block:
        """Return the values of a range, or put them into `target` and return nothing.

        DataError if the row group is not what the scan of the footers has found.
        """
        expected = self._manifest.files[wanted.file].row_groups[wanted.row_group]
        if wanted.start == 0 and wanted.stop == expected:
            group = self._decoded(wanted)
        else:
            group = self._groups_in_use.get(wanted, expected, lambda: self._decoded(wanted))
        try:
            if target is None:
                return {str(slot): part.values(wanted.start, wanted.stop) for slot, part in enumerate(group.parts)}
            for start in range(wanted.start, wanted.stop, self._piece_rows):
                stop = min(wanted.stop, start + self._piece_rows)
                for slot, part in enumerate(group.parts):
                    part.scatter(start, stop, target, slot, start - wanted.start)
        except DataError as error:
            raise self._located(error, wanted) from error
        return {}

    def close(self) -> None:
        self._groups_in_use.clear()
        super().close()

    def _decoded(self, wanted: RowRange) -> _Group:
        constants = dict(self._manifest.files[wanted.file].constants)
        table = self._row_group(wanted, [name for name in self._columns if name not in constants])
        try:
            parts = [self._part(field, self._arrays(field, table, constants)) for field in self._fields]
        except DataError as error:
            raise self._located(error, wanted) from error
        return _Group(parts, table.nbytes)

    def _located(self, error: DataError, wanted: RowRange) -> DataError:
        return DataError(f"{error}; in row group {wanted.row_group} of {self.url(wanted.file)}")

    def _arrays(self, field: Field, table: pa.Table, constants: Mapping[str, float]) -> list[pa.Array]:
        """The columns of a field, without nulls."""
        columns = []
        for name in field.columns:
            if name in constants:
                columns.append(pa.repeat(pa.scalar(constants[name]), table.num_rows))
                continue
            column = _one_chunk(table.column(name))
            nulls = arrow.null_rows(column)
            if nulls is not None and nulls.any():
                raise DataError(f"column {name!r} has {int(nulls.sum()):,} rows with a null: remove them")
            columns.append(column)
        return columns

    def _part(self, field: Field, columns: list[pa.Array]) -> Part:
        kind = type_of(field)
        if kind.late:
            return Late(columns[0], field, kind.decode)
        if len(columns) > 1:
            return _Stacked([arrow.dense(column, field.dtype, ()) for column in columns])
        return _Ready(kind.decoded(columns, field))

    def _check_schema(self, number: int, opened: pq.ParquetFile) -> None:
        there = set(opened.schema_arrow.names) | {name for name, _ in self._manifest.files[number].constants}
        missing = [name for name in self._columns if name not in there]
        if missing:
            raise DataError(f"{self.url(number)} has no column {missing[0]!r}: the file was changed, open it again")


class Part(ABC):
    """The values of one field in a decoded row group."""

    @abstractmethod
    def values(self, start: int, stop: int) -> Values:
        """Return those of some rows; they may share memory with Arrow."""

    def scatter(self, start: int, stop: int, target: Target, slot: int, first: int) -> None:
        """Scatter those of some rows into a slot of `target`, as rows from `first` on of its range."""
        target.scatter(slot, first, self.values(start, stop))


class _Ready(Part):
    """Values that lie in memory as they are wanted."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def values(self, start: int, stop: int) -> Values:
        return self._values[start:stop]


class _Stacked(Part):
    """Columns that are turned into rows, by one call of Arrow for many rows, without Python's lock."""

    def __init__(self, columns: list[Values]) -> None:
        names = [str(index) for index in range(len(columns))]
        self._columns = pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names)

    def values(self, start: int, stop: int) -> Values:
        rows: Values = self._columns.slice(start, stop - start).to_tensor().to_numpy()
        return rows


class Late(Part):
    """Values that are far larger than what is stored, so that they are made piece by piece."""

    def __init__(self, column: pa.Array, field: Field, make: Callable[[pa.Array, Field, Rows], None]) -> None:
        self._column = column
        self._field = field
        self._make = make

    def values(self, start: int, stop: int) -> Values:
        values = type_of(self._field).empty(self._field, stop - start)
        self._make(self._column.slice(start, stop - start), self._field, values)
        return values

    def scatter(self, start: int, stop: int, target: Target, slot: int, first: int) -> None:
        memory = target.memory[slot]
        rows = [memory[index] for index in target.positions[first : first + stop - start].tolist()]
        self._make(self._column.slice(start, stop - start), self._field, rows)


class _Group(NamedTuple):
    """A decoded row group: its fields, and the bytes that they take."""

    parts: list[Part]
    bytes: int


class _InUse:
    """A row group of which pieces are still to come."""

    def __init__(self, rows: int) -> None:
        self.lock = threading.Lock()
        self.left = rows
        self.group: _Group | None = None


class _DecodedGroups:
    """Decoded row groups that are read in several pieces; one thread decodes, others that want the same wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, int], _InUse] = OrderedDict()

    def get(self, wanted: RowRange, rows: int, decode: Callable[[], _Group]) -> _Group:
        key = (wanted.file, wanted.row_group)
        with self._lock:
            waiting = self._groups.setdefault(key, _InUse(rows))
            self._groups.move_to_end(key)
        with waiting.lock:
            if waiting.group is None:
                waiting.group = decode()
            group = waiting.group
        with self._lock:
            waiting.left -= wanted.stop - wanted.start
            # A shard takes the pieces of a group in order, and a group's end is the end of its last piece.
            if waiting.left <= 0 or wanted.stop == rows:
                self._groups.pop(key, None)
            while sum(w.group.bytes for w in self._groups.values() if w.group is not None) > CACHE_BYTES:
                oldest = next((k for k in self._groups if k != key), None)
                if oldest is None:
                    break
                del self._groups[oldest]
        return group

    def clear(self) -> None:
        with self._lock:
            self._groups.clear()


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
