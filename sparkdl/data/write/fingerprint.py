"""What identifies the rows of a DataFrame: their number and an order-free checksum, computed in the JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sparkdl.schema import ARRAY, IMAGE, INPUT, MASK, STACKED, VECTOR, DataSchema, Field
from sparkdl.spark.columns import column, tensor_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_BITS = 64
_PART_BITS = 22


def row_hash(schema: DataSchema, validation_column: str | None, fill_value: float | None) -> Column:
    """Return 64 bits that depend on everything of a row that is packed, as bigint.

    Spark's xxhash64 passes over nulls and does not tell where an array ends, so both are hashed as numbers beside it;
    not which elements of an array are null, because a fit is refused for any of them.
    """
    parts: list[Column] = []
    for field in schema.fields:
        if field.kind != MASK:
            parts += _parts(field, fill_value if field.role == INPUT else None)
    if validation_column is not None:
        flag = column(validation_column)
        parts += [flag.isNull(), flag]
    return F.xxhash64(*parts)


def content_of(df: DataFrame, schema: DataSchema, validation_column: str | None, fill_value: float | None) -> str:
    """Return number and checksum of the rows, as `identity` writes them; one pass over the rows."""
    hashed = df.select(row_hash(schema, validation_column, fill_value).alias("h"))
    # In three parts, because a sum of bigints that overflows is an error.
    parts = [
        F.coalesce(F.sum(F.shiftrightunsigned("h", start).bitwiseAND(F.lit((1 << _PART_BITS) - 1))), F.lit(0))
        for start in range(0, _BITS, _PART_BITS)
    ]
    row = hashed.agg(F.count("h"), *parts).collect()[0]
    return identity(row[0], sum(part << (_PART_BITS * place) for place, part in enumerate(row[1:])))


def identity(rows: int, total: int) -> str:
    """Return rows and the sum of their hashes modulo 2**64 as one text."""
    return f"{rows}-{total % (1 << _BITS):016x}"


def _parts(field: Field, fill_value: float | None) -> list[Column]:
    if field.kind in (IMAGE, VECTOR):
        value = column(field.columns[0])
        return [value.isNull(), value]
    value = tensor_column(field.kind, field.columns, field.dtype, len(field.shape), fill_value, field.types)
    if field.kind not in (ARRAY, STACKED):
        return [value.isNull(), value]
    sizes, inner = [value.isNull(), F.size(value)], value
    for _ in range(len(field.shape) - 1):
        sizes.append(F.transform(inner, lambda part: F.size(part)))
        inner = F.flatten(inner)
    return [*sizes, value]
