"""Nulls, shapes and dense values of nested Arrow arrays against what plain Python says of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.data.convert import arrow
from sparkdl.errors import DataError

numbers = st.none() | st.integers(-5, 5)
flat = st.none() | st.lists(numbers, max_size=4)
nested = st.none() | st.lists(flat, max_size=3)


def has_null(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(map(has_null, value)))


def shape_of(value: Any, dims: int) -> list[int]:
    if value is None:
        return [0] * dims
    if dims == 1:
        return [len(value)]
    inner = [shape_of(part, dims - 1) for part in value]
    if not inner:
        return [0] * dims
    return [len(value)] + [d[0] if len(set(d)) == 1 else -1 for d in zip(*inner, strict=True)]


ARROW_NUMBERS = (
    pa.bool_(),
    *(pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
)


@given(st.sampled_from(ARROW_NUMBERS), st.lists(st.none() | st.integers(0, 1), max_size=20))
def test_numbers_become_numpy_and_come_back_without_pandas_as_with_it(
    kind: pa.DataType, rows: list[int | None]
) -> None:
    values = [None if row is None else row * 1.0 if pa.types.is_floating(kind) else row for row in rows]
    dtype = np.dtype(kind.to_pandas_dtype())
    whole = pa.array([None, *map(dtype.type, [0, 1]), *(None if v is None else dtype.type(v) for v in values)], kind)
    for array in (whole[3:], whole[1:3], whole):
        filled = arrow.to_numpy(array, null=1)
        assert filled.dtype == dtype
        assert filled.tolist() == [1 if value is None else value for value in array.to_pylist()]
        nulls = np.array([value is None for value in array.to_pylist()], dtype=bool)
        assert arrow.from_numpy(filled, nulls).equals(array)
        assert nulls.any() or not filled.flags.writeable
        assert arrow.from_numpy(filled[~nulls]).equals(array.drop_null())
        assert arrow.to_numpy(array.drop_null()).tolist() == array.drop_null().to_pylist()
        assert str(arrow.to_numpy(array)) == str(array.to_numpy(zero_copy_only=False))


@given(st.lists(st.text(max_size=5), max_size=6))
def test_strings_become_arrow(values: list[str]) -> None:
    assert arrow.from_strings(values).equals(pa.array(values, pa.string()))


def variants(rows: list[Any], kind: pa.DataType) -> list[pa.Array]:
    """The same rows as an array of its own, as a slice of a longer one, and as large lists."""
    whole = pa.array([None, *rows, None], kind)
    large = pa.large_list(kind.value_type) if pa.types.is_list(kind) else kind
    return [pa.array(rows, kind), whole.slice(1, len(rows)), pa.array(rows, large)]


@given(st.lists(nested, max_size=8))
def test_nested_lists(rows: list[Any]) -> None:
    for array in variants(rows, pa.list_(pa.list_(pa.int64()))):
        mask = arrow.null_rows(array)
        assert ([False] * len(rows) if mask is None else mask.tolist()) == [has_null(row) for row in rows]
        assert arrow.row_shapes(array, 2).tolist() == [shape_of(row, 2) for row in rows]


@given(st.lists(flat, max_size=8))
def test_lists(rows: list[Any]) -> None:
    for array in variants(rows, pa.list_(pa.float32())):
        mask = arrow.null_rows(array)
        assert ([False] * len(rows) if mask is None else mask.tolist()) == [has_null(row) for row in rows]
        assert arrow.row_shapes(array, 1).tolist() == [shape_of(row, 1) for row in rows]


def test_lists_of_fixed_size_with_a_null() -> None:
    array = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2))
    mask = arrow.null_rows(array)
    assert mask is not None
    assert mask.tolist() == [False, True, True]
    assert arrow.row_shapes(array, 1).tolist() == [[2], [0], [2]]


@pytest.mark.parametrize(
    ("array", "dtype", "shape"),
    [
        (pa.array([1, 2, 3], pa.int64()), "int64", (1,)),
        (pa.array([True, False, True]), "int64", (1,)),
        (pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)), "float32", (1,)),
        (pa.array([[[1, 2]], [[3, 4]]], pa.list_(pa.list_(pa.float64()))), "float32", (1, 2)),
        (pa.array([[9, 9], [1, 2], [3, 4]], pa.list_(pa.float32())).slice(1), "float32", (2,)),
    ],
)
def test_dense_values(array: pa.Array, dtype: str, shape: tuple[int, ...]) -> None:
    values = arrow.dense(array, dtype, shape)
    assert values.dtype == dtype
    expected = np.array(array.to_pylist(), dtype=dtype).reshape(len(array), *shape)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_whole_number_is_made_of_what_is_none(value: float) -> None:
    with pytest.raises(DataError, match="NaN or infinity in a column of which the network takes whole numbers"):
        arrow.dense(pa.array([[1.0, value]]), "int64", (2,))
    assert arrow.dense(pa.array([[1.5, -1.5]]), "int64", (2,)).tolist() == [[1, -1]]


def test_nulls_in_place_of_numbers() -> None:
    nan = float("nan")
    array = pa.array([[[1.0, nan], None], None, [], [[nan]]])
    assert arrow.with_nulls(array, pc.is_nan).to_pylist() == [[[1.0, None], None], None, [], [[None]]]
    whole = pa.array([[1.0]])
    assert arrow.with_nulls(whole, pc.is_nan) is whole
