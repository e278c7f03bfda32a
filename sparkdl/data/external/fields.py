"""The fields that the columns of existing Parquet make, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.external.footers import SourceFile
from sparkdl.data.types import TYPES, type_of
from sparkdl.data.types.number import arrow_times
from sparkdl.errors import DataError, SettingError, invalid, listed
from sparkdl.schema import INPUT, STACKED, DataSchema, Field
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
        raise SettingError(invalid("columns", columns, "a list of names, or a dict from names to columns"))
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
                raise DataError(f"column {name!r} is not in the files (they have {listed(there, 20)})")
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
            if len(parts) > 1 and not type_of(part).stackable:
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
    for each in TYPES.values():
        shaped = each.of_arrow(data_type, dtype)
        if shaped is not None:
            return Field(name, INPUT, each.kind, (name,), shaped.dtype, shaped.shape, arrow_times(data_type))
    raise DataError(
        f"column {name!r} is {data_type} and cannot go into a network (numbers, dates, timestamps, arrays of numbers, "
        "Spark ML vectors, images and bytes of fixed length can): leave it out by columns=[...]"
    )


def _shape(field: Field, column: pa.ChunkedArray, place: str) -> tuple[int, ...] | None:
    """The shape of the first row that is not null; None where all are, which is refused with all other nulls."""
    rows = column.drop_null()
    if len(rows) == 0:
        return None
    row = rows.slice(0, 1).combine_chunks()
    if isinstance(row, pa.ChunkedArray):
        row = row.chunk(0)
    shape = type_of(field).first_shape(row, field)
    if shape is None:
        raise DataError(f"column {field.columns[0]!r} is no JPEG, PNG or Spark image in the first row of {place}")
    if min(shape) < 0:
        raise DataError(f"column {field.columns[0]!r} has arrays of different lengths in the first row of {place}")
    return shape
