"""What identifies the rows of a DataFrame: their number and an order-free checksum, computed in the JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sparkdl.data.types import type_of
from sparkdl.schema import INPUT, DataSchema
from sparkdl.spark.columns import column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_BITS = 64
_PART_BITS = 22


def row_hash(schema: DataSchema, validation_column: str | None, fill_value: float | None) -> Column:
    """Return 64 bits that depend on everything of a row that is packed, as bigint.

    Spark's xxhash64 passes over nulls and does not tell where an array ends, so both are hashed as numbers beside it.
    """
    parts: list[Column] = []
    for field in schema.fields:
        parts += type_of(field).hashed(field, filled=fill_value is not None and field.role == INPUT)
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
