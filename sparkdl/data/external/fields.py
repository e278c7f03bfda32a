"""The fields that the columns of existing Parquet make, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.convert import arrow, images, vectors
from sparkdl.data.external.footers import SourceFile
from sparkdl.errors import DataError, SettingError
from sparkdl.schema import (
    ARRAY,
    DATE,
    IMAGE,
    IMAGE_PARTS,
    INPUT,
    SCALAR,
    STACKED,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    VECTOR,
    DataSchema,
    Field,
)
from sparkdl.storage import urls

Columns = Sequence[str] | Mapping[str, str | Sequence[str]] | None


def named(columns: Columns, there: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of each field, by its name; all columns where none are named.

    Raises
    ------
    DataError
        A column is not there.
    SettingError
        No columns, or a text in place of a list.
    """
    if isinstance(columns, str):
        raise SettingError(f"columns={columns!r} must be a list of names, or a dict of name and columns")
    wanted: dict[str, tuple[str, ...]]
    if columns is None:
        wanted = {name: (name,) for name in there}
    elif isinstance(columns, Mapping):
        wanted = {name: (group,) if isinstance(group, str) else tuple(group) for name, group in columns.items()}
    else:
        wanted = {name: (name,) for name in columns}
    if not wanted or not all(wanted.values()):
        raise SettingError(f"columns={columns!r} names no columns: name some, or leave it out for all of them")
    for group in wanted.values():
        for name in group:
            if name not in there:
                shown = ", ".join(map(repr, there[:20])) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
                raise DataError(f"column {name!r} is not in the files (they have {shown})")
    return wanted


def fields_of(schema: pa.Schema, constants: Mapping[str, float], columns: Columns, dtype: str | None) -> DataSchema:
    """Return the fields, their shapes not known yet where only rows can tell.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the first file.
    constants : mapping
        The first file's partition columns with a value each.
    columns : list of str, or mapping of str to a column or to several that are stacked; None for all
    dtype : str or None
        Of numbers that are not whole; None: as they are.

    Raises
    ------
    DataError
        A column that is missing, or of a type that cannot go in.
    """
    types = {name: schema.field(name).type for name in schema.names}
    types |= {name: pa.int64() if isinstance(value, int) else pa.float64() for name, value in constants.items()}
    fields = []
    for name, group in named(columns, list(types)).items():
        parts = [_field(column, types[column], dtype) for column in group]
        for part in parts:
            if len(parts) > 1 and part.kind != SCALAR:
                raise DataError(
                    f"column {part.name!r} is {types[part.name]} and cannot be one of the {len(group)} columns that "
                    f"are stacked to {name!r}: numbers can, give it a name of its own"
                )
        fields.append(joined(name, group, parts))
    return DataSchema(tuple(fields))


def joined(name: str, group: tuple[str, ...], parts: Sequence[Field]) -> Field:
    """Return the field of that name: its one column, or several scalars that are stacked, in the widest dtype."""
    if len(parts) == 1:
        return replace(parts[0], name=name, columns=group)
    wider = next((d for d in ("float64", "float32") if any(p.dtype == d for p in parts)), "int64")
    return Field(name, INPUT, STACKED, group, wider, (len(group),))


def with_shapes(schema: DataSchema, url: str, files: Sequence[SourceFile], options: Mapping[str, Any]) -> DataSchema:
    """Return the schema with the shapes of the first row that there is; as it is where there are no rows."""
    unknown = [field for field in schema.fields if not field.known]
    if not unknown:
        return schema
    found = first_rows(url, files, options, [field.columns[0] for field in unknown])
    if found is None:
        return schema
    place, rows = found
    shapes = {f.name: _shape(f, rows.column(f.columns[0]), place) for f in unknown}
    return schema.resolved({name: shape for name, shape in shapes.items() if shape is not None})


def first_rows(
    url: str, files: Sequence[SourceFile], options: Mapping[str, Any], columns: Sequence[str]
) -> tuple[str, pa.Table] | None:
    """Return the first row group that has rows, with the url of its file; None where there are no rows."""
    for file in files:
        place = urls.join(url, file.path)
        with urls.open_read(place, options) as stream, pq.ParquetFile(stream) as opened:
            for group in range(opened.num_row_groups):
                if opened.metadata.row_group(group).num_rows:
                    return place, opened.read_row_group(group, columns=list(columns), use_threads=False)
    return None


def first_schema(url: str, files: Sequence[SourceFile], options: Mapping[str, Any]) -> pa.Schema:
    """Return the columns of the first file; DataError if it is no Parquet."""
    place = urls.join(url, files[0].path)
    try:
        with urls.open_read(place, options) as stream:
            return pq.read_schema(stream)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{place} cannot be read: {error}") from error


def _field(name: str, data_type: pa.DataType, dtype: str | None) -> Field:
    number = _number_dtype(data_type, dtype)
    if number is not None:
        return Field(name, INPUT, SCALAR, (name,), number, (1,), _times(data_type))
    if arrow.is_list(data_type):
        dims = arrow.depth(data_type)
        element = data_type
        while arrow.is_list(element):
            element = element.value_type
        number = _number_dtype(element, dtype)
        if number is not None and not _times(element):
            return Field(name, INPUT, ARRAY, (name,), number, (-1,) * dims)
    if pa.types.is_fixed_size_binary(data_type):
        return Field(name, INPUT, ARRAY, (name,), "uint8", (data_type.byte_width,))
    if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
        return Field(name, INPUT, IMAGE, (name,), "float32", (3, -1, -1))
    if pa.types.is_struct(data_type):
        parts = {data_type.field(place).name for place in range(data_type.num_fields)}
        if parts >= IMAGE_PARTS:
            return Field(name, INPUT, IMAGE, (name,), "float32", (3, -1, -1))
        if vectors.is_vector(data_type):
            return Field(name, INPUT, VECTOR, (name,), "float32", (-1,))
    raise DataError(
        f"column {name!r} is {data_type} and cannot go into a network (numbers, dates, timestamps, arrays of numbers, "
        "Spark ML vectors, images and bytes of fixed length can): leave it out by columns=[...]"
    )


def _number_dtype(data_type: pa.DataType, dtype: str | None) -> str | None:
    if pa.types.is_integer(data_type) or pa.types.is_boolean(data_type) or _times(data_type):
        return "int64"
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        narrow = pa.types.is_float32(data_type) or pa.types.is_float16(data_type)
        return dtype or ("float32" if narrow else "float64")
    return None


def _times(data_type: pa.DataType) -> tuple[str, ...]:
    if pa.types.is_date(data_type):
        return (DATE,)
    if pa.types.is_timestamp(data_type):
        return (TIMESTAMP if data_type.tz else TIMESTAMP_NTZ,)
    return ()


def _shape(field: Field, column: pa.ChunkedArray, place: str) -> tuple[int, ...] | None:
    """The shape of the first row that is not null; None where all are, which is refused with all other nulls."""
    rows = column.drop_null()
    if len(rows) == 0:
        return None
    row = rows.slice(0, 1).combine_chunks()
    if isinstance(row, pa.ChunkedArray):
        row = row.chunk(0)
    if field.kind == IMAGE:
        image = images.decode_all(row)[0]
        if image is None:
            raise DataError(f"column {field.columns[0]!r} is no JPEG, PNG or Spark image in the first row of {place}")
        return image.shape
    if field.kind == VECTOR:
        return (int(vectors.sizes(row)[0]),)
    shape = tuple(int(dimension) for dimension in arrow.row_shapes(row, len(field.shape))[0])
    if min(shape) < 0:
        raise DataError(f"column {field.columns[0]!r} has arrays of different lengths in the first row of {place}")
    return shape
