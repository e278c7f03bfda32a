"""Arrow arrays, nested or not, as dense numpy values; and which of their rows are null or of another shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sparkdl.errors import DataError

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


def to_numpy(array: pa.Array, null: float | None = None) -> npt.NDArray[Any]:
    """Return numbers or booleans as (n,) values, with `null` in place of nulls; without a copy where it can.

    Arrow's own `to_numpy` imports pandas: time and memory in each of Spark's workers.
    """
    kind = array.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not is_number or (array.null_count and null is None):
        return cast(npt.NDArray[Any], array.to_numpy(zero_copy_only=False))
    numbers = array.cast(pa.uint8()) if pa.types.is_boolean(kind) else array
    if array.null_count and null is not None:
        bare = pa.Array.from_buffers(numbers.type, len(array), [None, numbers.buffers()[1]], offset=numbers.offset)
        values = np.from_dlpack(bare).copy()
        values[to_numpy(array.is_null())] = null
    else:
        values = np.from_dlpack(numbers)
        # It is Arrow's memory, that others read.
        values.flags.writeable = False
    return values.view(np.bool_) if pa.types.is_boolean(kind) else values


def from_numpy(values: npt.NDArray[Any], nulls: Mask | None = None) -> pa.Array:
    """Return (n,) numbers or booleans as an Arrow array, without a copy where it can; pandas is not imported for it."""
    if nulls is not None:
        return pa.array(values, mask=nulls)
    if values.dtype == np.bool_:
        return from_numpy(values.view(np.uint8)).cast(pa.bool_())
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, data])


def in_lists(numbers: pa.Array, shape: Sequence[int]) -> pa.Array:
    """Return numbers, or whatever else, as rows: lists nested so deep that the whole has the shape, (n, ...)."""
    for dim in range(len(shape) - 1, 0, -1):
        count = int(np.prod(shape[:dim]))
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(shape[dim])
        numbers = pa.ListArray.from_arrays(from_numpy(offsets), numbers)
    return numbers


def from_strings(values: Sequence[str]) -> pa.Array:
    """Return strings as an Arrow array; pandas is not imported for it."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in encoded]))).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


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

    Raises
    ------
    DataError
        NaN or infinity where `dtype` is that of whole numbers.
    """
    rows = len(array)
    array = leaf(array)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    else:
        array = counted(array)
    values = to_numpy(array)
    if np.dtype(dtype).kind == "i" and values.dtype.kind in "fu" and not _fits(values, np.iinfo(dtype)):
        # numpy makes other numbers of them.
        what = "a number that is too large" if np.isfinite(values).all() else "NaN or infinity"
        raise DataError(f"there is {what} in a column of which the network takes whole numbers: remove the rows")
    return values.astype(dtype, copy=False).reshape(rows, *shape)


def _fits(values: npt.NDArray[Any], limits: np.iinfo[Any]) -> bool:
    """Whether whole numbers of these limits can hold all values; NaN is held by none."""
    if values.dtype.kind == "u":
        return bool((values <= limits.max).all())
    # The most is one less than a power of two, which is what a float of few digits makes of it.
    return bool(((values >= float(limits.min)) & (values < float(limits.max) + 1)).all())


def counted(array: pa.Array) -> pa.Array:
    """Return dates as days, timestamps as whole seconds, since 1970; other arrays as they are."""
    if pa.types.is_date(array.type):
        return array.cast(pa.date32()).cast(pa.int32())
    if not pa.types.is_timestamp(array.type):
        return array
    numbers = to_numpy(array.cast(pa.int64()), null=0)
    # Arrow's own division of negative numbers goes towards 0, numpy's goes down.
    return from_numpy(numbers // _IN_A_SECOND[array.type.unit], _nulls(array))


def _nulls(array: pa.Array) -> Mask | None:
    if array.null_count == 0:
        return None
    return to_numpy(array.is_null())


def lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Elements of each row that `flatten` keeps: a null list has none, whatever its slots hold."""
    if pa.types.is_fixed_size_list(array.type):
        sizes = np.full(len(array), array.type.list_size, dtype=np.int64)
    else:
        offsets = to_numpy(array.offsets).astype(np.int64, copy=False)
        sizes = np.diff(offsets)
    nulls = _nulls(array)
    if nulls is not None:
        sizes[nulls] = 0
    return sizes


def sizes(array: pa.Array) -> pa.Array:
    """Return how many elements each row has; numbers are such sizes already. A null stays null."""
    return pc.list_value_length(array) if is_list(array.type) else array


def with_leaf(array: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return nested lists with changed numbers; as they are where no number is null."""
    if leaf(array).null_count == 0:
        return array
    if not is_list(array.type):
        return change(array)
    return _lists(lengths(array), with_leaf(array.flatten(), change), _nulls(array))


def with_nulls(array: pa.Array, is_null: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return numbers, or nested lists of them, with nulls in place of the numbers that `is_null` tells."""
    if not is_list(array.type):
        return pc.if_else(is_null(array), pa.scalar(None, array.type), array)
    if not pc.any(is_null(leaf(array))).as_py():
        return array
    return _lists(lengths(array), with_nulls(array.flatten(), is_null), _nulls(array))


def with_type(array: pa.Array, dtype: str, dims: int) -> pa.Array:
    """Return lists of which all at some depth are null as ones of numbers, nested `dims` deep; others as they are."""
    return array.cast(_nested(dtype, dims)) if pa.types.is_null(leaf(array).type) else array


def with_rows(array: pa.Array, dtype: str, shape: tuple[int, ...], value: float) -> pa.Array:
    """Return lists, nested ``len(shape)`` deep, with lists of `value` in place of null ones, at every depth."""
    found = null_rows(array)
    if found is None or not found.any() or not shape:
        return array
    inner, own = with_rows(array.flatten(), dtype, shape[1:], value), _nulls(array)
    counts = lengths(array)
    if own is None:
        return _lists(counts, inner, None)
    return _longer(_as(inner, dtype), counts, np.where(own, shape[0], counts), _constant(dtype, shape[1:], value), None)


def padded(array: pa.Array, dtype: str, shape: tuple[int, ...], value: float) -> pa.Array:
    """Return lists, nested ``len(shape)`` deep, with `value` behind the parts of rows of fewer than ``shape[0]``.

    Nulls stay, longer rows too, and those whose parts are not of the shape ``shape[1:]``: they keep their own.
    """
    own, counts = _nulls(array), lengths(array)
    short = counts < shape[0] if own is None else (counts < shape[0]) & ~own
    if len(shape) > 1 and short.any():
        short &= (counts == 0) | (row_shapes(array, len(shape))[:, 1:] == shape[1:]).all(axis=1)
    if not short.any():
        return array
    longer = np.where(short, shape[0], counts)
    return _longer(_as(array.flatten(), dtype), counts, longer, _constant(dtype, shape[1:], value), own)


def _as(array: pa.Array, dtype: str) -> pa.Array:
    return array.cast(_nested(dtype, depth(array.type)), safe=False)


def _nested(dtype: str, dims: int) -> pa.DataType:
    return pa.list_(_nested(dtype, dims - 1)) if dims else pa.from_numpy_dtype(dtype)


def _constant(dtype: str, shape: tuple[int, ...], value: float) -> pa.Array:
    """One row of that shape."""
    return pa.array([np.full(shape, value).astype(dtype).tolist()], type=_nested(dtype, len(shape)))


def _longer(
    values: pa.Array, counts: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], filler: pa.Array, nulls: Mask | None
) -> pa.Array:
    """Lists of `counts` elements, brought to `wanted` by a `filler` behind them."""
    chosen = np.full(int(wanted.sum()), len(values), dtype=np.int64)
    moved = (np.cumsum(wanted) - wanted) - (np.cumsum(counts) - counts)
    chosen[np.repeat(moved, counts) + np.arange(len(values))] = np.arange(len(values))
    return _lists(wanted, pa.concat_arrays([values, filler]).take(from_numpy(chosen)), nulls)


def _lists(counts: npt.NDArray[np.int64], values: pa.Array, nulls: Mask | None) -> pa.Array:
    offsets = from_numpy(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, values, mask=None if nulls is None else from_numpy(nulls))
