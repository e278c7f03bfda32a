"""Arrow to torch and back: values, dtypes, shapes, no needless copy, and rows that do not fit."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from sparkdl.data.convert.tensors import from_tensor, null_rows
from sparkdl.data.types import to_tensor
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, IMAGE, INPUT, SCALAR, STACKED, VECTOR, DataSchema, Field


def field(kind: str, shape: tuple[int, ...], dtype: str = "float32") -> Field:
    return Field("f", INPUT, kind, ("f",), dtype, shape)


@pytest.mark.parametrize(
    ("array", "of", "expected"),
    [
        (pa.array([1.0, 2.0], pa.float32()), field(SCALAR, (1,)), [[1.0], [2.0]]),
        (pa.array([1, 2]), field(SCALAR, (1,), "int64"), [[1], [2]]),
        (pa.array([True, False]), field(SCALAR, (1,), "int64"), [[1], [0]]),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.float32())), field(VECTOR, (2,)), [[1.0, 2.0], [3.0, 4.0]]),
        (pa.array([[0, 0], [3, 4]], pa.list_(pa.float64())).slice(1), field(ARRAY, (-1,)), [[3.0, 4.0]]),
        (pa.array([[[1], [2]]], pa.list_(pa.list_(pa.int64()))), field(ARRAY, (2, 1), "int64"), [[[1], [2]]]),
        (pa.array([[1, 2]], pa.list_(pa.float32(), 2)), field(STACKED, (2,)), [[1.0, 2.0]]),
    ],
)
def test_values_dtypes_and_shapes(array: pa.Array, of: Field, expected: list[object]) -> None:
    tensor = to_tensor([array], of)
    assert tensor.dtype == getattr(torch, of.dtype)
    assert tensor.tolist() == expected


def vectors(rows: list[list[float] | dict[int, float] | None], size: int) -> pa.StructArray:
    """Vectors as Spark keeps them: lists are dense, dicts sparse."""
    parts = [
        None
        if row is None
        else {"type": 1, "size": None, "indices": None, "values": row}
        if isinstance(row, list)
        else {"type": 0, "size": size, "indices": list(row), "values": list(row.values())}
        for row in rows
    ]
    kind = pa.struct(
        {"type": pa.int8(), "size": pa.int32(), "indices": pa.list_(pa.int32()), "values": pa.list_(pa.float64())}
    )
    return pa.array(parts, kind)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0, 3.0], [4.0, 5.0, 6.0], [0.0, 0.0, 0.0]], [[1, 0, 3], [4, 5, 6], [0, 0, 0]]),
        ([[1.0, 0.0, 3.0], {1: 5.0}, [7.0, 8.0, 0.0]], [[1, 0, 3], [0, 5, 0], [7, 8, 0]]),
        ([{}, {0: 1.0, 2: 2.0}, {}], [[0, 0, 0], [1, 0, 2], [0, 0, 0]]),
    ],
    ids=["dense", "both", "sparse"],
)
def test_vectors_as_spark_keeps_them(start: int, rows: list[Any], expected: list[list[int]]) -> None:
    array = vectors(rows, 3).slice(start)
    tensor = to_tensor([array], field(VECTOR, (3,)))
    assert (tensor.dtype, tensor.tolist()) == (torch.float32, expected[start:])
    as_sparse = to_tensor([array], replace(field(VECTOR, (3,)), sparse=True))
    assert as_sparse.is_sparse
    assert as_sparse.to_dense().tolist() == expected[start:]
    chosen = vectors([*rows, None], 3).filter(pa.array([True, False, True, False]))
    assert to_tensor([chosen], field(VECTOR, (3,))).tolist() == expected[::2]
    with pytest.raises(DataError, match="column 'f' has .* vectors of the size 3, 2 is needed"):
        to_tensor([array], field(VECTOR, (2,)))


def test_columns_are_stacked() -> None:
    columns = [pa.array([1, 2], pa.int32()), pa.array([0.5, 1.5], pa.float64())]
    assert to_tensor(columns, field(STACKED, (2,))).tolist() == [[1.0, 0.5], [2.0, 1.5]]


def test_numbers_of_the_right_type_are_not_copied() -> None:
    array = pa.array(np.arange(6, dtype=np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, 3, 6], pa.int32()), array)
    tensor = to_tensor([lists.slice(1)], field(ARRAY, (3,)))
    assert tensor.data_ptr() == array.buffers()[1].address + 12


def test_no_rows() -> None:
    assert to_tensor([pa.array([], pa.list_(pa.float32()))], field(ARRAY, (3,))).shape == (0, 3)
    assert to_tensor([pa.array([], pa.float32())], field(SCALAR, (1,))).shape == (0, 1)
    assert to_tensor([pa.array([], pa.binary())], field(IMAGE, (3, 2, 2))).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        ([[1.0], [1.0, 2.0]], (1,), r"'f' has 1 of 2 rows of length 2, 1 is needed"),
        ([[1.0], [1.0, 2.0]], (-1,), r"1 of 2 rows of length 2, 1 is needed"),
        ([[1.0, 2.0]] * 3, (4,), r"3 of 3 rows of length 2, 4 is needed"),
    ],
)
def test_ragged_rows_are_refused_with_their_lengths(
    rows: list[list[float]], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        to_tensor([pa.array(rows, pa.list_(pa.float32()))], field(ARRAY, shape))


def test_rows_ragged_inside_are_refused() -> None:
    rows = pa.array([[[1.0], [1.0, 2.0]]], pa.list_(pa.list_(pa.float32())))
    with pytest.raises(DataError, match=r"length 2x\?"):
        to_tensor([rows], field(ARRAY, (2, 2)))
    with pytest.raises(DataError, match="nested 2 deep"):
        to_tensor([rows], field(ARRAY, (2,)))


def test_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    array = pa.array([sink.getvalue()] * 2, pa.binary())
    tensor = to_tensor([array], field(IMAGE, (3, 2, 3)))
    assert torch.allclose(tensor[1], torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32) / 255)
    with pytest.raises(DataError, match=r"images of 2x3 .*, 4x4 is needed"):
        to_tensor([array], field(IMAGE, (3, 4, 4)))
    with pytest.raises(DataError, match="'f' has 1 of 2 rows that are no JPEG"):
        to_tensor([pa.array([sink.getvalue(), b"x"], pa.binary())], field(IMAGE, (3, 2, 3)))


def test_null_rows_of_several_columns() -> None:
    assert null_rows([pa.array([1, 2])]) is None
    mask = null_rows([pa.array([1, None, 3]), pa.array([[1], [2], [None]])])
    assert mask is not None
    assert mask.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("shape", "kind", "arrow_type"),
    [
        ((3,), None, pa.float64()),
        ((3, 1), None, pa.float64()),
        ((3, 1), "array", pa.list_(pa.float32())),
        ((3,), "array", pa.list_(pa.float32())),
        ((3, 2), None, pa.list_(pa.float32())),
        ((3, 2, 4), None, pa.list_(pa.list_(pa.float32()))),
        ((0, 2), None, pa.list_(pa.float32())),
    ],
)
def test_outputs(shape: tuple[int, ...], kind: str | None, arrow_type: pa.DataType) -> None:
    tensor = torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape).requires_grad_()
    array = from_tensor(tensor, kind)
    assert array.type == arrow_type
    assert len(array) == shape[0]
    flat = [] if not len(array) else np.array(array.to_pylist()).reshape(-1).tolist()
    assert flat == tensor.reshape(-1).tolist()


def test_an_output_of_several_numbers_is_no_double() -> None:
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        from_tensor(torch.zeros(3, 2), "double")


def test_a_schema_survives_json() -> None:
    schema = DataSchema((field(IMAGE, (3, -1, -1)), Field("y", "label", SCALAR, ("y",), "int64", (1,))))
    assert DataSchema.from_json(schema.to_json()) == schema
    assert schema.resolved({"f": (3, 2, 2)}).inputs_only().fields[0].size == 12
