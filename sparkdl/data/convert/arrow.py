"""Arrow arrays, nested or not, as dense numpy values; and which of their rows are null or of another shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

RAGGED = -1
"""Stands for a dimension whose parts differ within one row."""

_IN_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Mask = npt.NDArray[np.bool_]


def is_list(kind: pa.DataType) -> bool:
    """Whether arrays of this type hold lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def depth(kind: pa.DataType) -> int:
    """How many lists are nested in each other: 0 for numbers."""
    levels = 0
    while is_list(kind):
        kind = kind.value_type
        levels += 1
    return levels


def leaf(array: pa.Array) -> pa.Array:
    """Return the numbers inside nested lists, one after the other; those of null lists are left out."""
    while is_list(array.type):
        array = array.flatten()
    return array


def null_rows(array: pa.Array) -> Mask | None:
    """Return which rows are null or hold a null at any depth, (n,) bool; None if there are none."""
    own = _nulls(array)
    if not is_list(array.type):
        return own
    inner = null_rows(array.flatten())
    if inner is None:
        return own
    ends = np.cumsum(lengths(array))
    before = np.concatenate(([0], np.cumsum(inner)))
    inside: Mask = before[ends] > before[ends - lengths(array)]
    return inside if own is None else own | inside


def row_shapes(array: pa.Array, dims: int) -> npt.NDArray[np.int64]:
    """Return the shape of each row, (n, dims); RAGGED where a dimension differs within the row.

    A null row has zeros. `array` must be nested `dims` deep.
    """
    sizes = lengths(array)
    shapes = np.zeros((len(array), dims), dtype=np.int64)
    shapes[:, 0] = sizes
    if dims == 1 or len(array) == 0:
        return shapes
    inner = row_shapes(array.flatten(), dims - 1)
    if len(inner) == 0:
        return shapes
    starts = np.cumsum(sizes) - sizes
    first = inner[np.minimum(starts, len(inner) - 1)]
    differs = np.concatenate(
        (np.zeros((1, dims - 1), np.int64), np.cumsum(inner != np.repeat(first, sizes, axis=0), axis=0))
    )
    ragged = differs[starts + sizes] > differs[starts]
    shapes[:, 1:] = np.where(ragged, RAGGED, np.where(sizes[:, None] > 0, first, 0))
    return shapes


def dense(array: pa.Array, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return rows without nulls, all of one shape, as (n, *shape); without a copy where the type allows.

    Parameters
    ----------
    array : pyarrow.Array
        Numbers, booleans, dates, timestamps, or lists of them nested ``len(shape)`` deep.
    dtype : str
        Of the result.
    shape : tuple of int
        Of one row; a column of numbers has (1,).
    """
    rows = len(array)
    array = leaf(array)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    else:
        array = counted(array)
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return values.reshape(rows, *shape)


def counted(array: pa.Array) -> pa.Array:
    """Return dates as days, timestamps as whole seconds, since 1970; other arrays as they are."""
    if pa.types.is_date(array.type):
        return array.cast(pa.date32()).cast(pa.int32())
    if not pa.types.is_timestamp(array.type):
        return array
    numbers = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    # Arrow's own division of negative numbers goes towards 0, numpy's goes down.
    return pa.array(numbers // _IN_A_SECOND[array.type.unit], mask=_nulls(array))


def _nulls(array: pa.Array) -> Mask | None:
    if array.null_count == 0:
        return None
    mask: Mask = pc.is_null(array).to_numpy(zero_copy_only=False)
    return mask


def lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Elements of each row that `flatten` keeps: a null list has none, whatever its slots hold."""
    if pa.types.is_fixed_size_list(array.type):
        sizes = np.full(len(array), array.type.list_size, dtype=np.int64)
    else:
        offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        sizes = np.diff(offsets)
    nulls = _nulls(array)
    if nulls is not None:
        sizes[nulls] = 0
    return sizes
