"""DataFrame columns as Arrow sees them: one narrow type for each kind of field, names quoted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from sparkdl.schema import DATE, FRACTION, TIMESTAMP, TIMESTAMP_NTZ

if TYPE_CHECKING:
    from pyspark.sql import Column

SPARK_TYPES = {"float32": "float", "float64": "double", "int64": "bigint"}

_TIMES: dict[type[DataType], str] = {
    DateType: DATE,
    TimestampType: TIMESTAMP,
    TimestampNTZType: TIMESTAMP_NTZ,
}
_SECONDS_TO_1970 = 62_135_596_800


def time_of(data_type: DataType) -> str:
    """Return "date", "timestamp" or "timestamp_ntz" for a type that is counted, "" for any other."""
    return _TIMES.get(type(data_type), "")


def type_word(data_type: DataType, dtype: str) -> str:
    """Return what `number` has to know of a column's type, for a tensor of that dtype."""
    if dtype == "int64" and isinstance(data_type, (FloatType, DoubleType)):
        return FRACTION
    return time_of(data_type)


def quoted(name: str) -> str:
    """Return `name` so that Spark takes it as one column, whatever dots, spaces or backticks it holds."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the top-level column of that name."""
    return F.col(quoted(name))


def element_of(data_type: DataType) -> tuple[DataType, int]:
    """Return the innermost element of nested arrays, and how deep it lies: 0 for what is no array."""
    dims = 0
    while isinstance(data_type, ArrayType):
        data_type, dims = data_type.elementType, dims + 1
    return data_type, dims


def is_ml_vector(data_type: DataType) -> bool:
    """Return whether a type is that of Spark ML's vectors, and not of the old mllib's."""
    kind = type(data_type)
    return kind.__name__ == "VectorUDT" and not kind.__module__.startswith("pyspark.mllib")


def dtype_of(data_type: DataType) -> str | None:
    """Return the dtype of a number's tensor, "int64" or "float32"; None for a type that is no number."""
    if isinstance(data_type, (IntegralType, BooleanType)) or time_of(data_type):
        return "int64"
    return "float32" if isinstance(data_type, (FloatType, DoubleType, DecimalType)) else None


def is_bytes(data_type: DataType) -> bool:
    """Return whether a column of that type holds bytes."""
    return isinstance(data_type, BinaryType)


def parts_of(data_type: DataType) -> frozenset[str]:
    """Return the names in a struct; none for any other type."""
    return frozenset(data_type.fieldNames()) if isinstance(data_type, StructType) else frozenset()


def number(name: str, time: str, dtype: str) -> Column:
    """Return a numeric column in the type of its tensor.

    Parameters
    ----------
    name : str
    time : str
        "date", "timestamp" or "timestamp_ntz", which are counted: days, or whole seconds, since 1970; "" for a number,
        "fraction" for one of which NaN is to be a null.
    dtype : str
        "float32", "float64" or "int64".
    """
    return _counted(name, time).cast(SPARK_TYPES[dtype])


def numbers(name: str, dtype: str, dims: int) -> Column:
    """Return a column of arrays, nested `dims` deep, with elements in the type of their tensor; nulls stay."""
    return column(name).cast("array<" * dims + SPARK_TYPES[dtype] + ">" * dims)


def stacked(names: Sequence[str], times: Sequence[str], dtype: str) -> Column:
    """Return numeric columns as one array; a null in one of them is a null element. Arguments as for `number`."""
    return F.array(*(number(name, time, dtype) for name, time in zip_longest(names, times, fillvalue="")))


def array_size(name: str) -> Column:
    """Return how many elements an array has, as int; null for a null."""
    return F.when(column(name).isNotNull(), F.size(column(name)))


def array_sizes(name: str, depth: int) -> list[Column]:
    """Return, for arrays nested `depth` deep, the elements of the longest one at each depth; null where none is."""
    sizes, value = [array_size(name)], column(name)
    for _ in range(depth - 1):
        # An array of which one part is null would be null when it is made flat.
        present = F.filter(value, lambda part: part.isNotNull())
        sizes.append(F.array_max(F.transform(present, lambda part: F.size(part))))
        value = F.flatten(present)
    return sizes


def all_present(value: Column, depth: int) -> Column:
    """Return whether arrays nested `depth` deep hold no null."""
    if depth == 1:
        return F.forall(value, lambda item: item.isNotNull())
    return F.forall(value, lambda item: item.isNotNull() & all_present(item, depth - 1))


def hashed_array(value: Column, depth: int, nulls: bool) -> list[Column]:
    """Return what tells arrays nested `depth` deep apart under xxhash64, which does not see where an array ends.

    It passes over nulls too: with `nulls` two arrays with nulls in different places differ.
    """
    sizes, inner = [value.isNull(), F.size(value)], value
    for _ in range(depth - 1):
        sizes.append(F.transform(inner, lambda part: F.size(part)))
        inner = F.flatten(inner)
    return [*sizes, value, F.transform(inner, lambda item: item.isNull())] if nulls else [*sizes, value]


def vector_parts(name: str) -> Column:
    """Return a column of Spark ML vectors as the struct that Spark keeps them in: type, size, indices, values."""
    return F.unwrap_udt(column(name))


def vector_numbers(name: str) -> Column:
    """Return a column of Spark ML vectors as array<double>: dense ones as Spark keeps them, without a copy."""
    # pyspark.ml brings pandas and scipy, seconds for each Python worker that only packs or scores rows.
    from pyspark.ml.functions import vector_to_array

    parts = vector_parts(name)
    is_dense = parts.getField("indices").isNull()
    # vector_to_array makes objects of a row and of each of its numbers. A null has neither indices nor values.
    return F.when(is_dense, parts.getField("values")).otherwise(vector_to_array(column(name)))


def vector_size(name: str) -> Column:
    """Return how many numbers a vector has, as int; null for a null."""
    parts = vector_parts(name)
    return F.when(parts.isNotNull(), F.coalesce(parts.getField("size"), F.size(parts.getField("values"))))


def vector_entries(name: str) -> Column:
    """Return how many of a vector's numbers are stored or not 0, as int; null for a null."""
    parts = vector_parts(name)
    dense = F.size(F.filter(parts.getField("values"), lambda value: value != 0))
    is_sparse = parts.getField("indices").isNotNull()
    return F.when(parts.isNotNull(), F.when(is_sparse, F.size(parts.getField("indices"))).otherwise(dense))


def _counted(name: str, time: str) -> Column:
    value = column(name)
    if time == DATE:
        return F.unix_date(value)
    if time == TIMESTAMP:
        return F.unix_seconds(value)
    if time == TIMESTAMP_NTZ:
        # Differences are cut towards 0: from the year 1 on that is down.
        since = F.expr(f"timestampdiff(SECOND, timestamp_ntz'0001-01-01 00:00:00', {quoted(name)})")
        return since - F.lit(_SECONDS_TO_1970)
    if time == FRACTION:
        # A cast of NaN would be 0, or an error of Spark's.
        return F.when(~F.isnan(value), value)
    return value
