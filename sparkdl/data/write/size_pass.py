"""What has to be known of the rows before they are packed: the longest array, the fullest sparse vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from sparkdl.data.types import type_of
from sparkdl.data.write.fields import declared_sizes
from sparkdl.schema import ENTRY, INPUT, DataSchema, Field
from sparkdl.spark.columns import vector_entries, vector_size
from sparkdl.spark.executors import computing_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

WIDE = 256
"""Vectors of fewer numbers are packed whole: it would not pay to look at all of them first."""


def can_pad(field: Field) -> bool:
    """Whether rows of different lengths can be brought to the longest."""
    return field.role == INPUT and type_of(field).paddable and len(field.shape) == 1


def measured(
    df: DataFrame, schema: DataSchema, fill_value: float | None, pad_value: float | None, case_sensitive: bool
) -> DataSchema:
    """Return the schema with the lengths of what is padded, and with room for the entries of sparse vectors.

    One pass over the rows if something is padded or a vector is wide, else none. How wide vectors are their metadata
    say (Spark ML's stages write it), else the first row.
    """
    if pad_value is not None:
        return _with_lengths(df, schema)
    wide = [f for f in schema.fields if f.role == INPUT and type_of(f).sparse and f.dtype == "float32"]
    if fill_value:
        # A null vector would become one without zeros.
        return schema
    wide = _wide(df, wide, case_sensitive)
    greatest = _greatest(
        df, [measure for f in wide for measure in (vector_entries(f.columns[0]), vector_size(f.columns[0]))]
    )
    rooms = {f.name: (greatest[2 * i], greatest[2 * i + 1]) for i, f in enumerate(wide)}
    return DataSchema(tuple(_with_room(f, *rooms.get(f.name, (0, 0))) for f in schema.fields))


def _with_lengths(df: DataFrame, schema: DataSchema) -> DataSchema:
    padded = [f for f in schema.fields if can_pad(f)]
    lengths = [type_of(f).length(f) for f in padded]
    longest = _greatest(df, lengths)
    of_columns = {f.columns: (length,) for f, length in zip(padded, longest, strict=True) if length >= 0}
    return schema.resolved(
        {
            f.name: of_columns[f.columns]
            for f in schema.fields
            if (can_pad(f) or type_of(f).derived) and f.columns in of_columns
        }
    )


def _with_room(field: Field, entries: int, size: int) -> Field:
    stored_whole = size * np.dtype(field.dtype).itemsize
    return replace(field, entries=max(1, entries)) if entries * np.dtype(ENTRY).itemsize < stored_whole else field


def _wide(df: DataFrame, vectors: Sequence[Field], case_sensitive: bool) -> list[Field]:
    """Those that may have many numbers."""
    declared = declared_sizes(df.schema, DataSchema(tuple(vectors)), case_sensitive)
    unknown = [f for f in vectors if f.name not in declared]
    if unknown:
        with computing_rows():
            first = df.select(*(vector_size(f.columns[0]).alias(str(i)) for i, f in enumerate(unknown))).head()
        for i, f in enumerate(unknown):
            size = 0 if first is None else first[str(i)]
            declared[f.name] = WIDE if size is None else size
    return [f for f in vectors if declared[f.name] >= WIDE]


def _greatest(df: DataFrame, measures: Sequence[Column]) -> list[int]:
    """The greatest of each, -1 where there is none; in one pass."""
    if not measures:
        return []
    with computing_rows():
        row = df.agg(*(F.max(measure).alias(str(i)) for i, measure in enumerate(measures))).collect()[0]
    return [-1 if value is None else int(value) for value in row]
