"""Row groups of Parquet that exists already: columns in, blocks of a row's fields out.

A row group may be far larger than what a window takes of it at a time. It is decoded once, whole (pyarrow's own way of
decoding in pieces can wait for itself where its pool has one thread), and kept until its last piece has been taken.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data import arrays, images, tensors
from sparkdl.data.manifest import Manifest
from sparkdl.data.plan import RowRange
from sparkdl.data.readers.files import RowGroupFiles
from sparkdl.data.schema import IMAGE, SCALAR, STACKED, Field
from sparkdl.errors import DataError

Block = dict[str, npt.NDArray[Any]]
"""The values of each field, (n, *shape), called "0", "1", ... as the members of a packed row are."""

KEPT_BYTES = 2 << 30
"""Decoded row groups of which pieces are still to come; beyond it the least recently used are decoded again."""


class ColumnFiles(RowGroupFiles):
    """Reads ranges of rows from columns."""

    def __init__(self, manifest: Manifest, storage_options: Mapping[str, Any]) -> None:
        super().__init__(manifest, storage_options)
        self._fields = manifest.schema.fields
        self._columns = tuple(dict.fromkeys(name for field in self._fields for name in field.columns))
        self._kept = _Kept()

    def read(self, wanted: RowRange) -> Block:  # type: ignore[override]
        """Return the values of a range; DataError if the row group is not what the scan of the footers has found."""
        expected = self._manifest.files[wanted.file].row_groups[wanted.row_group]
        if wanted.start == 0 and wanted.stop == expected:
            group = self._decoded(wanted)
        else:
            group = self._kept.get(wanted, expected, lambda: self._decoded(wanted))
        block = {place: values[wanted.start : wanted.stop] for place, values in group.values.items()}
        late = group.late.slice(wanted.start, wanted.stop - wanted.start)
        for place, field in enumerate(self._fields):
            if str(place) not in block:
                block[str(place)] = self._values(field, late, wanted)
        return block

    def close(self) -> None:
        self._kept.clear()
        super().close()

    def _is_late(self, field: Field) -> bool:
        """Whether the values of a field are far larger than what is stored, so that they are made piece by piece."""
        return field.kind == IMAGE

    def _decoded(self, wanted: RowRange) -> _Group:
        constants = dict(self._manifest.files[wanted.file].constants)
        table = self._row_group(wanted, [name for name in self._columns if name not in constants]).combine_chunks()
        late = [name for field in self._fields if self._is_late(field) for name in field.columns]
        values = {
            str(place): self._values(field, table, wanted)
            for place, field in enumerate(self._fields)
            if not self._is_late(field)
        }
        return _Group(values, table.select(list(dict.fromkeys(late))), table.nbytes)

    def _values(self, field: Field, table: pa.Table, wanted: RowRange) -> npt.NDArray[Any]:
        """The values of a field in all rows of a table."""
        constants = dict(self._manifest.files[wanted.file].constants)
        columns = []
        for name in field.columns:
            if name in constants:
                columns.append(pa.repeat(pa.scalar(constants[name]), table.num_rows))
                continue
            column = _one_chunk(table.column(name))
            nulls = arrays.null_rows(column)
            if nulls is not None and nulls.any():
                raise DataError(
                    f"column {name!r} has {int(nulls.sum()):,} rows with a null in row group {wanted.row_group} of "
                    f"{self.url(wanted.file)}: remove them"
                )
            columns.append(column)
        try:
            return self._dense(field, columns, table.num_rows)
        except DataError as error:
            raise DataError(f"{error}; in row group {wanted.row_group} of {self.url(wanted.file)}") from error

    def _dense(self, field: Field, columns: list[pa.Array], rows: int) -> npt.NDArray[Any]:
        """The values of one field, (rows, *shape); they may share memory with Arrow."""
        if field.kind == STACKED:
            return _stacked(field, columns, rows)
        if field.kind == IMAGE:
            return _pictures(field, columns[0])
        if field.dtype == "uint8":
            return _bytes(field, columns[0])
        if field.kind == SCALAR:
            return arrays.dense(columns[0], field.dtype, (1,))
        return tensors.to_tensor(columns, field).numpy()

    def _check_schema(self, number: int, opened: pq.ParquetFile) -> None:
        there = set(opened.schema_arrow.names) | {name for name, _ in self._manifest.files[number].constants}
        missing = [name for name in self._columns if name not in there]
        if missing:
            raise DataError(f"{self.url(number)} has no column {missing[0]!r}: the file was changed, open it again")


class _Group(NamedTuple):
    """A decoded row group.

    Attributes
    ----------
    values : dict of str to array
        Of the fields that are ready, by place.
    late : pyarrow.Table
        The columns of the others.
    bytes : int
    """

    values: Block
    late: pa.Table
    bytes: int


class _Waiting:
    """A row group of which pieces are still to come."""

    def __init__(self, rows: int) -> None:
        self.lock = threading.Lock()
        self.left = rows
        self.group: _Group | None = None


class _Kept:
    """Decoded row groups that are read in several pieces; one thread decodes, others that want the same wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, int], _Waiting] = OrderedDict()

    def get(self, wanted: RowRange, rows: int, decode: Callable[[], _Group]) -> _Group:
        key = (wanted.file, wanted.row_group)
        with self._lock:
            waiting = self._groups.setdefault(key, _Waiting(rows))
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
            while sum(w.group.bytes for w in self._groups.values() if w.group is not None) > KEPT_BYTES:
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


def _stacked(field: Field, columns: list[pa.Array], rows: int) -> npt.NDArray[Any]:
    """As columns that lie behind each other, seen as rows: whoever copies them turns them."""
    # Not a power of two apart: such columns would push each other out of the cache while they are turned.
    values = np.empty((len(columns), rows + 16), dtype=field.dtype)[:, :rows]
    for place, column in enumerate(columns):
        values[place] = arrays.dense(column, field.dtype, ())
    return values.T


def _pictures(field: Field, column: pa.Array) -> npt.NDArray[Any]:
    pictures = images.decode_all(column)
    good = [picture for picture in pictures if picture is not None]
    if len(good) < len(pictures):
        raise DataError(
            f"column {field.columns[0]!r} has {len(pictures) - len(good):,} rows that are no JPEG, PNG or Spark image"
        )
    if not good:
        return np.empty((0, *field.shape), dtype=np.uint8)
    stacked = images.stack(good, field.columns[0])
    if stacked.shape[1:] != field.shape:
        raise DataError(
            f"column {field.columns[0]!r} has pictures of {stacked.shape[2]}x{stacked.shape[3]} (height x width), "
            f"the first ones are {field.shape[1]}x{field.shape[2]}: bring them to one size"
        )
    return stacked


def _bytes(field: Field, column: pa.FixedSizeBinaryArray) -> npt.NDArray[Any]:
    width = column.type.byte_width
    values = np.frombuffer(column.buffers()[1], dtype=np.uint8, count=len(column) * width, offset=column.offset * width)
    return values.reshape(len(column), *field.shape)
