"""Spark ML vectors, dense and sparse in one column, as entries: the indices and values that are not 0.

From Arrow (the struct type, size, indices, values that Spark keeps a vector in) to packed rows, which hold a
fixed number of entries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sparkdl.data.convert import arrow
from sparkdl.errors import DataError
from sparkdl.schema import ENTRY

_FIELDS = ["type", "size", "indices", "values"]


class Entries(NamedTuple):
    """The entries of n vectors, row by row, indices ascending.

    Attributes
    ----------
    rows, indices : array
        (e,) int64: the vector of each entry, and its index from 0 on.
    values : array
        (e,) float32.
    vectors : int
        How many there are.
    """

    rows: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    vectors: int


def is_vector(kind: pa.DataType) -> bool:
    """Whether arrays of this type are vectors as Spark keeps them."""
    return bool(pa.types.is_struct(kind)) and [field.name for field in kind] == _FIELDS


def sizes(column: pa.StructArray) -> npt.NDArray[np.int64]:
    """Return the size of each vector, (n,); 0 for nulls."""
    _, size, _, values = column.flatten()
    declared = arrow.to_numpy(size, null=-1).astype(np.int64)
    return np.where(declared < 0, arrow.lengths(values), declared)


def entries_of(column: pa.StructArray) -> Entries:
    """Return the entries of a column; a null has none."""
    _, _, stored, values = column.flatten()
    lengths = arrow.lengths(values)
    rows = np.repeat(np.arange(len(column)), lengths)
    indices = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    is_sparse = arrow.to_numpy(stored.is_valid())
    indices[np.repeat(is_sparse, lengths)] = arrow.to_numpy(arrow.leaf(stored))
    numbers = arrow.to_numpy(arrow.leaf(values)).astype(np.float32)
    kept = numbers != 0
    return Entries(rows[kept], indices[kept], numbers[kept], len(column))


def without_nulls(column: pa.StructArray, size: int) -> pa.StructArray:
    """Return vectors with one of `size` zeros in place of each null."""
    if column.null_count == 0:
        return column
    whole = column.is_valid()
    zeros = pa.array([{"type": 0, "size": size, "indices": [], "values": []}], type=column.type)
    chosen = pc.if_else(whole, arrow.from_numpy(np.arange(len(column))), len(column))
    return pa.concat_arrays([column, zeros]).take(chosen)


def packed(column: pa.StructArray, width: int, name: str) -> npt.NDArray[Any]:
    """Return vectors as packed rows hold them: (n, width) of `ENTRY`.

    Raises
    ------
    DataError
        A vector has more entries than were counted before: the DataFrame is not the same each time it is computed.
    """
    entries = entries_of(column)
    lengths = np.bincount(entries.rows, minlength=entries.vectors)
    if len(lengths) and lengths.max() > width:
        raise DataError(
            f"column {name!r} has a vector of {lengths.max()} entries, {width} were the most when they were counted: "
            "the DataFrame changes each time it is computed, so cache or save it first"
        )
    slots = np.arange(len(entries.rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    stored = np.zeros((entries.vectors, width), dtype=ENTRY)
    stored["f0"][entries.rows, slots] = entries.indices + 1
    stored["f1"][entries.rows, slots] = entries.values
    return stored


def unpacked(stored: npt.NDArray[Any]) -> Entries:
    """Return the entries of packed rows."""
    rows, slots = np.nonzero(stored["f0"])
    chosen = stored[rows, slots]
    return Entries(rows, chosen["f0"].astype(np.int64) - 1, chosen["f1"], len(stored))
