"""DataFrame columns as Arrow sees them: one narrow type for each kind of field, names quoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, TimestampNTZType, TimestampType

if TYPE_CHECKING:
    from pyspark.sql import Column

SPARK_TYPES = {"float32": "float", "float64": "double", "int64": "bigint"}

_TIMES: dict[type[DataType], str] = {
    DateType: "date",
    TimestampType: "timestamp",
    TimestampNTZType: "timestamp_ntz",
}
_SECONDS_TO_1970 = 62_135_596_800
_ALL = (1 << 31) - 1


def time_of(data_type: DataType) -> str:
    """Return "date", "timestamp" or "timestamp_ntz" for a type that is counted, "" for any other."""
    return _TIMES.get(type(data_type), "")


def quoted(name: str) -> str:
    """Return `name` so that Spark takes it as one column, whatever dots, spaces or backticks it holds."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the top-level column of that name."""
    return F.col(quoted(name))


def tensor_column(
    kind: str,
    columns: Sequence[str],
    dtype: str,
    dims: int = 1,
    fill_value: float | None = None,
    types: Sequence[str] = (),
) -> Column:
    """Return one expression that brings a field to Arrow in the type its tensor has.

    Parameters
    ----------
    kind : str
        "scalar", "stacked", "array", "vector", "image" or "mask", as in `sparkdl.schema`.
    columns : sequence of str
        Column names as the user typed them; several for "stacked".
    dtype : str
        "float32", "float64" or "int64".
    dims : int
        Dimensions of one row, for "array": 1 is array<float>, 2 is array<array<float>>.
    fill_value : float, optional
        What stands for a null number, inside arrays too; nulls stay nulls without it.
    types : sequence of str
        For each column "date", "timestamp", "timestamp_ntz", or "" for a number; of a mask "array" or "vector".

    Returns
    -------
    Column
        Of type float, double or bigint ("scalar"), array of them, nested `dims` deep, or as it is ("image"). A null
        stays visible: a null vector or array is null, a null in one of several stacked columns is a null element.
        A mask is an int: how many elements are not padding.
    """
    if kind == "mask":
        own = _length(columns[0], types[0])
        # A null array that is filled has no padding.
        return own if fill_value is None else F.coalesce(own, F.lit(_ALL))
    element = SPARK_TYPES[dtype]
    if kind in ("scalar", "stacked"):
        numbers = [_number(name, time).cast(element) for name, time in zip_longest(columns, types, fillvalue="")]
        filled = [_filled(number, element, fill_value) for number in numbers]
        return filled[0] if kind == "scalar" else F.array(*filled)
    if kind == "array":
        value = column(columns[0]).cast("array<" * dims + element + ">" * dims)
        return (
            value if fill_value is None else _map_nested(value, dims, lambda leaf: _filled(leaf, element, fill_value))
        )
    if kind == "vector":
        # pyspark.ml brings pandas and scipy, seconds for each Python worker that only packs or scores rows.
        from pyspark.ml.functions import vector_to_array

        # The JVM function behind vector_to_array throws on null, without a name of the column.
        value = column(columns[0])
        return F.when(value.isNotNull(), vector_to_array(value, dtype))
    if kind == "image":
        return column(columns[0])
    raise ValueError(f"unknown kind of field {kind!r}")


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


def padded(value: Column, length: int, pad_value: float, dtype: str) -> Column:
    """Return an array column with `pad_value` behind its elements up to `length`; null stays null."""
    tail = F.array_repeat(F.lit(pad_value).cast(SPARK_TYPES[dtype]), F.lit(length))
    return F.slice(F.concat(value, tail), 1, length)


def _number(name: str, time: str) -> Column:
    """A date or a timestamp is counted: days, or whole seconds, since 1970."""
    value = column(name)
    if time == "date":
        return F.unix_date(value)
    if time == "timestamp":
        return F.unix_seconds(value)
    if time == "timestamp_ntz":
        # Differences are cut towards 0: from the year 1 on that is down.
        since = F.expr(f"timestampdiff(SECOND, timestamp_ntz'0001-01-01 00:00:00', {quoted(name)})")
        return since - F.lit(_SECONDS_TO_1970)
    return value


def _length(name: str, kind: str) -> Column:
    if kind == "vector":
        return vector_size(name)
    return F.when(column(name).isNotNull(), F.size(column(name)))


def _filled(value: Column, element: str, fill_value: float | None) -> Column:
    return value if fill_value is None else F.coalesce(value, F.lit(fill_value).cast(element))


def _map_nested(value: Column, dims: int, function: Callable[[Column], Column]) -> Column:
    if dims == 1:
        return F.transform(value, function)
    return F.transform(value, lambda inner: _map_nested(inner, dims - 1, function))
