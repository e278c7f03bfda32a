"""A row means the same tensor on every path: packed, from existing Parquet, scored in Spark and in one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.data.types import TYPES, from_packed, type_of
from sparkdl.data.write.encoder import FieldReader
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, INPUT, MASK, SCALAR, STACKED, VECTOR, Field
from sparkdl.scoring.local import to_array
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings

VECTOR_TYPE = pa.struct(
    [
        pa.field("type", pa.int8()),
        pa.field("size", pa.int32()),
        pa.field("indices", pa.list_(pa.int32())),
        pa.field("values", pa.list_(pa.float64())),
    ]
)
NUMBERS = st.one_of(st.none(), st.integers(-(2**20), 2**20))


def field(kind: str, shape: tuple[int, ...], dtype: str = "float32", columns: Sequence[str] = ("c",)) -> Field:
    return Field("c", INPUT, kind, tuple(columns), dtype, shape)


def nested(element: Any, dims: int) -> pa.DataType:
    return pa.list_(nested(element, dims - 1)) if dims else element


def expected(row: Any, shape: tuple[int, ...], fill: float | None, pad: float | None) -> Any:
    """What a row means, by plain Python: None if it can be no tensor."""
    if row is None:
        return None if fill is None else np.full(shape, fill).tolist()
    if not shape:
        return row
    if pad is not None:
        row = row + [np.full(shape[1:], pad).tolist()] * (shape[0] - len(row))
    if len(row) != shape[0]:
        return None
    parts = [expected(item, shape[1:], fill, None) for item in row]
    return None if any(part is None for part in parts) else parts


def by_packing(column: pa.Array, one: Field, fill: float | None, pad: float | None) -> list[Any]:
    reader = FieldReader(one, (), fill, pad)
    content, good = reader.read(column)
    tensors = iter(from_packed(reader.values(content, good).copy(), one) if good.any() else [])
    return [next(tensors).tolist() if is_good else None for is_good in good.tolist()]


def by_scoring(columns: Sequence[pa.Array], one: Field, fill: float | None, pad: float | None) -> list[Any]:
    """Row by row, so that a row that is refused does not take others with it."""
    settings = ScorerSettings(8, "cpu", "fp32", ())
    plan = ScoringPlan((one,), GenericHead(("y",), (one.shape,)), (), settings, "error", fill, pad)
    rows = []
    for number in range(len(columns[0])):
        (repaired,) = plan.repaired([[column.slice(number, 1) for column in columns]])
        if plan.nulls(repaired).any():
            rows.append(None)
            continue
        try:
            rows.append(type_of(one).tensor(repaired, one)[0].tolist())
        except DataError:
            rows.append(None)
    return rows


@given(
    data=st.data(),
    dims=st.integers(1, 3),
    dtype=st.sampled_from(["int64", "float32"]),
    fill=st.sampled_from([None, 0.0, 7.0]),
    pad=st.sampled_from([None, -1.0]),
    skipped=st.integers(0, 2),
)
def test_arrays(data: Any, dims: int, dtype: str, fill: float | None, pad: float | None, skipped: int) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=dims, max_size=dims)))
    rows: st.SearchStrategy[Any] = NUMBERS
    for size in reversed(shape):
        rows = st.one_of(st.none(), st.lists(rows, min_size=size - 1, max_size=size))
    values = data.draw(st.lists(rows, min_size=skipped + 1, max_size=6))
    # As Spark brings it, in the tensor's own type, and as Parquet or pandas may, in another; slices of a batch.
    exact = pa.array(values, type=nested(pa.from_numpy_dtype(dtype), dims)).slice(skipped)
    other = pa.array(values, type=nested(pa.int32(), dims)).slice(skipped)
    one = field(ARRAY, shape, dtype)
    wanted = [expected(row, shape, fill, pad) for row in values[skipped:]]
    assert by_packing(exact, one, fill, pad) == wanted
    assert by_scoring([exact], one, fill, pad) == wanted
    assert by_scoring([other], one, fill, pad) == wanted
    if None not in values:
        assert by_scoring([to_array(values[skipped:], "c")], one, fill, pad) == wanted
    whole = [row for row, means in zip(values[skipped:], wanted, strict=True) if means is not None and row is not None]
    if fill is None and pad is None and whole:
        read = type_of(one).decoded([pa.array(whole, type=exact.type)], one)
        assert read.tolist() == [means for means in wanted if means is not None]


@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6),
    dtype=st.sampled_from(["int64", "float32"]),
    fill=st.sampled_from([None, 3.0]),
)
def test_stacked_columns(rows: list[tuple[int | None, int | None]], dtype: str, fill: float | None) -> None:
    one = field(STACKED, (2,), dtype, ("a", "b"))
    wanted = [expected(list(row), (2,), fill, None) for row in rows]
    by_spark = pa.array([list(row) for row in rows], type=nested(pa.from_numpy_dtype(dtype), 1))
    assert by_packing(by_spark, one, fill, None) == wanted
    assert by_scoring([by_spark], one, fill, None) == wanted
    columns = [pa.array([row[number] for row in rows], type=pa.int64()) for number in range(2)]
    assert by_scoring(columns, one, fill, None) == wanted


@given(values=st.lists(NUMBERS, min_size=1, max_size=6), fill=st.sampled_from([None, 3.0]))
def test_scalars(values: list[int | None], fill: float | None) -> None:
    one = field(SCALAR, (1,), "int64")
    wanted = [
        None if value is None and fill is None else [int(fill or 0) if value is None else value] for value in values
    ]
    assert by_packing(pa.array(values, type=pa.int64()), one, fill, None) == wanted
    assert by_scoring([pa.array(values, type=pa.int64())], one, fill, None) == wanted


@given(
    rows=st.lists(st.one_of(st.none(), st.lists(st.integers(-3, 3), min_size=4, max_size=4)), min_size=1, max_size=6),
    filled=st.booleans(),
    as_sparse=st.booleans(),
)
def test_vectors(rows: list[list[int] | None], filled: bool, as_sparse: bool) -> None:
    def vector(row: list[int] | None) -> dict[str, Any] | None:
        if row is None:
            return None
        if sum(row) % 2:
            return {"type": 1, "size": None, "indices": None, "values": row}
        indices = [place for place, value in enumerate(row) if value]
        return {"type": 0, "size": 4, "indices": indices, "values": [row[place] for place in indices]}

    fill = 0.0 if filled else None
    lists = pa.array(rows, type=nested(pa.float64(), 1))
    structs = pa.array([vector(row) for row in rows], type=VECTOR_TYPE)
    one = field(VECTOR, (4,))
    wide = replace(one, entries=4)
    wanted = [expected(row, (4,), fill, None) for row in rows]
    assert by_packing(lists, one, fill, None) == wanted
    assert by_packing(structs, wide, fill, None) == wanted
    assert by_scoring([lists], one, fill, None) == wanted
    assert by_scoring([structs], wide, fill, None) == wanted
    if as_sparse:
        (repaired,) = [type_of(wide).filled(structs, wide, 0.0)]
        dense = [row or [0.0] * 4 for row in rows]
        assert type_of(wide).tensor([repaired], replace(wide, sparse=True)).to_dense().tolist() == dense


@given(
    rows=st.lists(st.one_of(st.none(), st.lists(st.just(1), max_size=3)), min_size=1, max_size=5), filled=st.booleans()
)
def test_masks(rows: list[list[int] | None], filled: bool) -> None:
    one = Field("m", INPUT, MASK, ("c",), "bool", (3,), (ARRAY,))
    fill = 0.0 if filled else None
    sizes = pa.array([None if row is None else len(row) for row in rows], type=pa.int32())
    lists = pa.array(rows, type=nested(pa.int64(), 1))
    wanted = [
        ([True] * 3 if filled else None) if row is None else [place < len(row) for place in range(3)] for row in rows
    ]
    assert by_packing(sizes, one, fill, None) == wanted
    assert by_scoring([sizes], one, fill, None) == wanted
    assert by_scoring([lists], one, fill, None) == wanted


def test_a_row_that_is_longer_than_the_network_takes_is_never_cut() -> None:
    one = field(ARRAY, (2,))
    long = pa.array([[1.0, 2.0, 3.0]], type=nested(pa.float32(), 1))
    assert by_packing(long, one, None, 0.0) == [None]
    assert by_scoring([long], one, None, 0.0) == [None]


@pytest.mark.parametrize("by", ["packing", "scoring"])
def test_arrays_of_arrays_are_padded_in_their_first_dimension(by: str) -> None:
    boxes = field(ARRAY, (3, 2))
    mask = Field("m", INPUT, MASK, ("c",), "bool", (3,), (ARRAY,))
    rows = [[[1, 2]], [], [[1, 2], [3, 4], [5, 6]], [[1, 2, 3]], [[1, 2], [3]], None, [[1, None]]]
    column = pa.array(rows, type=nested(pa.float32(), 2))
    made = partial(by_packing, column) if by == "packing" else partial(by_scoring, [column])
    padded = [[[1, 2], [9, 9], [9, 9]], [[9, 9]] * 3, rows[2]]
    assert made(boxes, None, 9.0) == [*padded, None, None, None, None]
    assert made(boxes, 7.0, 9.0) == [*padded, None, None, [[7, 7]] * 3, [[1, 7], [9, 9], [9, 9]]]
    own = [[True, False, False], [False] * 3, [True] * 3]
    assert by_scoring([column.slice(0, 3)], mask, None, 9.0) == own


def test_what_is_refused_is_counted_as_it_came() -> None:
    reader = FieldReader(field(ARRAY, (3, 4)), (), None, 0.0)
    reader.read(pa.array([[[1, 2]], [[1, 2, 3, 4]] * 3, [[1, 2], [3]], [[1, 2, 3, 4]]], type=nested(pa.float32(), 2)))
    assert reader.counter.shapes == {"1,2": 1, "3,4": 2, "2,?": 1}


def test_rows_that_are_null_before_any_has_told_the_shape_stay_null() -> None:
    reader = FieldReader(field(ARRAY, (-1,)), (), 5.0)
    _, good = reader.read(pa.array([None, None], type=nested(pa.float32(), 1)))
    assert not good.any()
    assert reader.counter.nulls == 2
    content, good = reader.read(pa.array([[1.0, None]], type=nested(pa.float32(), 1)))
    assert reader.values(content, good).tolist() == [[1, 5]]
    content, good = reader.read(pa.array([None], type=nested(pa.float32(), 1)))
    assert reader.values(content, good).tolist() == [[5, 5]]


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_knows_its_name_and_its_bytes(kind: str) -> None:
    shape = {SCALAR: (1,), "image": (3, 2, 2)}.get(kind, (4,))
    one = field(kind, shape)
    own = type_of(one)
    assert own.kind == kind
    assert own.stored_bytes(one) == math.prod(own.stored_shape(one)) * np.dtype(own.stored_dtype(one)).itemsize
    assert own.empty(one, 2).shape == (2, *shape)
