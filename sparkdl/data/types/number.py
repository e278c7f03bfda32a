"""Numbers, booleans, dates and timestamps: one column as (1,), or several stacked as (k,)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sparkdl.data.convert import arrow
from sparkdl.data.types.column_type import ColumnType, Shaped, Values
from sparkdl.schema import DATE, SCALAR, STACKED, TIMESTAMP, TIMESTAMP_NTZ, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


def arrow_dtype(data_type: pa.DataType, dtype: str | None) -> str | None:
    """Return the dtype of a number's tensor, None for a type that is no number; `dtype` is for fractions."""
    if pa.types.is_integer(data_type) or pa.types.is_boolean(data_type) or arrow_times(data_type):
        return "int64"
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        narrow = pa.types.is_float32(data_type) or pa.types.is_float16(data_type)
        return dtype or ("float32" if narrow else "float64")
    return None


def arrow_times(data_type: pa.DataType) -> tuple[str, ...]:
    """Return (DATE,), (TIMESTAMP,) or (TIMESTAMP_NTZ,) for a type that is counted, () for any other."""
    if pa.types.is_date(data_type):
        return (DATE,)
    if pa.types.is_timestamp(data_type):
        return (TIMESTAMP if data_type.tz else TIMESTAMP_NTZ,)
    return ()


def filled_numbers(numbers: pa.Array, dtype: str, value: float) -> pa.Array:
    """Return numbers of the tensor's dtype, with `value` in place of nulls."""
    if numbers.null_count == 0:
        return numbers
    numbers = arrow.counted(numbers).cast(pa.from_numpy_dtype(dtype), safe=False)
    return pc.fill_null(numbers, pa.scalar(value).cast(numbers.type))


class ScalarType(ColumnType):
    """One numeric column."""

    kind = SCALAR
    stackable = True

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        from sparkdl.spark.columns import dtype_of

        dtype = dtype_of(data_type)
        return Shaped(dtype, (1,)) if dtype else None

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        number = arrow_dtype(data_type, dtype)
        return Shaped(number, (1,)) if number else None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import number

        return number(field.columns[0], field.types[0] if field.types else "", field.dtype)

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        return filled_numbers(column, field.dtype, value)

    def decoded(self, columns: Sequence[pa.Array], field: Field) -> Values:
        return arrow.dense(columns[0], field.dtype, (1,))

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        from sparkdl.data.convert import tensors

        return tensors.dense(columns[0], field.dtype, (1,))


class StackedType(ColumnType):
    """Several numeric columns as one tensor."""

    kind = STACKED

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        return None

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        return None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import stacked

        return stacked(field.columns, field.types, field.dtype)

    def present(self, field: Field, expression: Column) -> Column:
        from sparkdl.spark.columns import all_present

        return expression.isNotNull() & all_present(expression, 1)

    def hashed(self, field: Field, filled: bool) -> list[Column]:
        from sparkdl.spark.columns import hashed_array

        return hashed_array(self.expression(field), 1, filled)

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        if not arrow.is_list(column.type):
            return filled_numbers(column, field.dtype, value)
        return arrow.with_leaf(column, lambda leaf: filled_numbers(leaf, field.dtype, value))

    def shapes(self, column: pa.Array, field: Field) -> npt.NDArray[np.int64]:
        return arrow.row_shapes(column, 1)

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        import torch

        from sparkdl.data.convert import tensors

        if len(columns) == 1:
            return tensors.dense(columns[0], field.dtype, tensors.one_shape(columns[0], field))
        values = np.empty((len(columns[0]), len(columns)), dtype=field.dtype)
        for number, column in enumerate(columns):
            values[:, number] = arrow.dense(column, field.dtype, ())
        return torch.from_numpy(values)
