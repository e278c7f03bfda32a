"""Rows as bytes: what goes in comes out, wherever fields lie; and the checksum sees every change but the order."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkdl.data.format.row_layout import Checksum, RowLayout
from sparkdl.data.types import type_of
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, IMAGE, INPUT, LABEL, SCALAR, WEIGHT, DataSchema, Field

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
kinds = st.sampled_from([("float32", ARRAY), ("int64", ARRAY), ("float32", IMAGE)])


@st.composite
def schemas(draw: st.DrawFn) -> DataSchema:
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5, unique=True))
    fields = []
    for name in names:
        dtype, kind = draw(kinds)
        fields.append(Field(name, INPUT, kind, (name,), dtype, draw(shapes)))
    return DataSchema(tuple(fields))


def values_of(schema: DataSchema, rows: int) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(rows)
    return {
        f.name: generator.integers(0, 200, (rows, *f.shape)).astype(type_of(f).stored_dtype(f)) for f in schema.fields
    }


@settings(deadline=None)
@given(schemas(), st.integers(0, 20), st.integers(1, 7))
def test_rows_come_out_of_a_file_as_they_went_in(schema: DataSchema, rows: int, part: int) -> None:
    layout = RowLayout.of(schema)
    values = values_of(schema, rows)
    packed = layout.pack(values)
    assert all(slot.offset % np.dtype(slot.dtype).itemsize == 0 for slot in layout.slots)
    assert layout.row_bytes % 8 == 0
    sink = io.BytesIO()
    parts = [packed[i : i + part] for i in range(0, rows, part)]
    pq.write_table(layout.to_table(parts), sink, compression="NONE", use_dictionary=False)
    back = layout.unpack(layout.from_table(pq.read_table(sink)))
    for name, expected in values.items():
        assert back[name].dtype == expected.dtype
        np.testing.assert_array_equal(back[name], expected)


def test_the_checksum_is_that_of_the_rows_in_any_order_and_any_batches() -> None:
    schema = DataSchema(
        (
            Field("x", INPUT, ARRAY, ("x",), "float32", (3,)),
            Field("y", LABEL, SCALAR, ("y",), "int64", (1,)),
            Field("w", WEIGHT, SCALAR, ("w",), "float32", (1,)),
        )
    )
    layout = RowLayout.of(schema)
    values = values_of(schema, 50)

    def checksum(rows: npt.NDArray[Any], parts: int = 1) -> str:
        total = Checksum(layout.row_bytes)
        for some in np.array_split(rows, parts):
            total.add(np.ascontiguousarray(some))
        return total.value

    packed = layout.pack(values)
    whole = checksum(packed)
    order = np.random.default_rng(0).permutation(50)
    assert checksum(layout.pack({name: value[order] for name, value in values.items()}), 7) == whole
    assert checksum(packed[:-1]) != whole
    swapped = layout.pack({**values, "x": values["x"][:, ::-1]})
    assert checksum(swapped) != whole
    moved = layout.pack({**values, "y": np.roll(values["y"], 1, axis=0)})
    assert checksum(moved) != whole


def test_a_shape_that_is_not_known_is_refused_and_large_rows_make_small_groups() -> None:
    with pytest.raises(DataError, match="'x'"):
        RowLayout.of(DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (-1,)),)))
    image = DataSchema((Field("i", INPUT, IMAGE, ("i",), "float32", (3, 2000, 2000)),))
    assert RowLayout.of(image).group_rows == 1
