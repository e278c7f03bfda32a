"""DataFrame columns as Arrow sees them: one narrow type for each kind of field, names quoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

SPARK_TYPES = {"float32": "float", "int64": "bigint"}


def quoted(name: str) -> str:
    """Return `name` so that Spark takes it as one column, whatever dots, spaces or backticks it holds."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """Return the top-level column of that name."""
    return F.col(quoted(name))


def tensor_column(
    kind: str, columns: Sequence[str], dtype: str, dims: int = 1, fill_value: float | None = None
) -> Column:
    """Return one expression that brings a field to Arrow in the type its tensor has.

    Parameters
    ----------
    kind : str
        "scalar", "stacked", "array", "vector" or "image", as in `sparkdl.data.schema`.
    columns : sequence of str
        Column names as the user typed them; several for "stacked".
    dtype : str
        "float32" or "int64".
    dims : int
        Dimensions of one row, for "array": 1 is array<float>, 2 is array<array<float>>.
    fill_value : float, optional
        What stands for a null number, inside arrays too; nulls stay nulls without it.

    Returns
    -------
    Column
        Of type float or bigint ("scalar"), array of them, nested `dims` deep, or as it is ("image"). A null stays
        visible: a null vector or array is null, a null in one of several stacked columns is a null element.
    """
    element = SPARK_TYPES[dtype]
    if kind == "scalar":
        return _filled(column(columns[0]).cast(element), element, fill_value)
    if kind == "stacked":
        return F.array(*(_filled(column(name).cast(element), element, fill_value) for name in columns))
    if kind == "array":
        value = column(columns[0]).cast("array<" * dims + element + ">" * dims)
        return (
            value if fill_value is None else _map_nested(value, dims, lambda leaf: _filled(leaf, element, fill_value))
        )
    if kind == "vector":
        # The JVM function behind vector_to_array throws on null, without a name of the column.
        value = column(columns[0])
        return F.when(value.isNotNull(), vector_to_array(value, "float32"))
    if kind == "image":
        return column(columns[0])
    raise ValueError(f"unknown kind of field {kind!r}")


def padded(value: Column, length: int, pad_value: float, dtype: str) -> Column:
    """Return an array column with `pad_value` behind its elements up to `length`; null stays null."""
    tail = F.array_repeat(F.lit(pad_value).cast(SPARK_TYPES[dtype]), F.lit(length))
    return F.slice(F.concat(value, tail), 1, length)


def _filled(value: Column, element: str, fill_value: float | None) -> Column:
    return value if fill_value is None else F.coalesce(value, F.lit(fill_value).cast(element))


def _map_nested(value: Column, dims: int, function: Callable[[Column], Column]) -> Column:
    if dims == 1:
        return F.transform(value, function)
    return F.transform(value, lambda inner: _map_nested(inner, dims - 1, function))
