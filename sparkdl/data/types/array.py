"""Arrays of numbers, nested arrays too, and bytes of fixed length: a row is (k,) or (n, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.data.convert import arrow
from sparkdl.data.types.column_type import ColumnType, Shaped, Values
from sparkdl.data.types.number import arrow_dtype, arrow_times, filled_numbers
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


class ArrayType(ColumnType):
    """An array column."""

    kind = ARRAY
    paddable = True

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        from sparkdl.spark.columns import dtype_of, element_of, time_of

        element, dims = element_of(data_type)
        dtype = dtype_of(element) if dims and not time_of(element) else None
        return Shaped(dtype, (-1,) * dims) if dtype else None

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        if pa.types.is_fixed_size_binary(data_type):
            return Shaped("uint8", (data_type.byte_width,))
        dims = arrow.depth(data_type)
        for _ in range(dims):
            data_type = data_type.value_type
        number = arrow_dtype(data_type, dtype) if dims and not arrow_times(data_type) else None
        return Shaped(number, (-1,) * dims) if number else None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import numbers

        return numbers(field.columns[0], field.dtype, len(field.shape))

    def present(self, field: Field, expression: Column) -> Column:
        from sparkdl.spark.columns import all_present

        return expression.isNotNull() & all_present(expression, len(field.shape))

    def hashed(self, field: Field, filled: bool) -> list[Column]:
        from sparkdl.spark.columns import hashed_array

        return hashed_array(self.expression(field), len(field.shape), filled)

    def lengths(self, field: Field) -> list[Column]:
        from sparkdl.spark.columns import array_sizes

        return array_sizes(field.columns[0], len(field.shape))

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        column = arrow.with_type(column, field.dtype, len(field.shape))
        column = arrow.with_leaf(column, lambda leaf: filled_numbers(leaf, field.dtype, value))
        return arrow.with_rows(column, field.dtype, field.shape, value) if field.known else column

    def padded(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        column = arrow.with_type(column, field.dtype, len(field.shape))
        fits = arrow.depth(column.type) == len(field.shape)
        return arrow.padded(column, field.dtype, field.shape, value) if fits else column

    def shapes(self, column: pa.Array, field: Field) -> npt.NDArray[np.int64]:
        return arrow.row_shapes(column, len(field.shape))

    def decoded(self, columns: Sequence[pa.Array], field: Field) -> Values:
        (column,) = columns
        if not pa.types.is_fixed_size_binary(column.type):
            return super().decoded(columns, field)
        width = column.type.byte_width
        values: npt.NDArray[Any] = np.frombuffer(
            column.buffers()[1], dtype=np.uint8, count=len(column) * width, offset=column.offset * width
        )
        return values.reshape(len(column), *field.shape)

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        from sparkdl.data.convert import tensors

        (column,) = columns
        dims = arrow.depth(column.type)
        if dims != len(field.shape):
            raise DataError(f"field {field.name!r} is nested {dims} deep, the network was made for {len(field.shape)}")
        dense = tensors.dense(column, field.dtype, tensors.one_shape(column, field))
        return dense.to_sparse() if field.sparse else dense
