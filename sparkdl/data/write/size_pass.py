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
    return field.role == INPUT and type_of(field).paddable


def measured(
    df: DataFrame, schema: DataSchema, fill_value: float | None, pad_value: float | None, case_sensitive: bool
) -> DataSchema:
    """Return the schema with the lengths of what is padded or filled, and with room for the entries of sparse vectors.

    One pass over the rows if something is padded, an array or a vector is filled, or a vector is wide, else none. How
    wide vectors are their metadata say (Spark ML's stages write it), else the first row.
    """
    # A task that finds only nulls could not tell how long what stands for them has to be.
    sized = [f for f in schema.fields if can_pad(f) and (pad_value is not None or fill_value is not None)]
    # Where vectors are padded, or a null one becomes one without zeros, all are packed whole.
    wide = [] if pad_value is not None or fill_value else _wide(df, schema, case_sensitive)
    lengths = [length for f in sized for length in type_of(f).lengths(f)]
    entries = [measure for f in wide for measure in (vector_entries(f.columns[0]), vector_size(f.columns[0]))]
    greatest = iter(_greatest(df, [*lengths, *entries]))
    shapes = {f.columns: tuple(next(greatest) for _ in f.shape) for f in sized}
    rooms = {f.name: (next(greatest), next(greatest)) for f in wide}
    # A mask has the columns of what it masks, and its first dimension.
    alike = [f for f in schema.fields if (f in sized or type_of(f).derived) and min(shapes.get(f.columns, (-1,))) >= 0]
    resolved = schema.resolved({f.name: shapes[f.columns][: len(f.shape)] for f in alike})
    return DataSchema(tuple(_with_room(f, *rooms.get(f.name, (0, 0))) for f in resolved.fields))


def _with_room(field: Field, entries: int, size: int) -> Field:
    stored_whole = size * np.dtype(field.dtype).itemsize
    return replace(field, entries=max(1, entries)) if entries * np.dtype(ENTRY).itemsize < stored_whole else field


def _wide(df: DataFrame, schema: DataSchema, case_sensitive: bool) -> list[Field]:
    """Return the vectors that may have many numbers."""
    vectors = [f for f in schema.fields if f.role == INPUT and type_of(f).sparse and f.dtype == "float32"]
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
