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
