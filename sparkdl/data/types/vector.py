"""Spark ML vectors, dense and sparse in one column: a row is (k,)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.data.convert import vectors
from sparkdl.data.types.array import ArrayType
from sparkdl.data.types.column_type import Shaped, Values
from sparkdl.errors import DataError
from sparkdl.schema import ENTRY, VECTOR, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


class VectorType(ArrayType):
    """A vector column: lists of numbers in Arrow, or, where few of many are not 0, the struct of its entries."""

    kind = VECTOR
    sparse = True

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        from sparkdl.spark.columns import is_ml_vector

        return Shaped("float32", (-1,)) if is_ml_vector(data_type) else None

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        return Shaped("float32", (-1,)) if vectors.is_vector(data_type) else None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import vector_numbers, vector_parts

        return vector_numbers(field.columns[0]) if field.entries is None else vector_parts(field.columns[0])

    def present(self, field: Field, expression: Column) -> Column:
        return expression.isNotNull()

    def hashed(self, field: Field, filled: bool) -> list[Column]:
        from sparkdl.spark.columns import column

        value = column(field.columns[0])
        return [value.isNull(), value]

    def lengths(self, field: Field) -> list[Column]:
        from sparkdl.spark.columns import vector_size

        return [vector_size(field.columns[0])]

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        if not vectors.is_vector(column.type):
            return super().filled(column, field, value)
        return vectors.without_nulls(column, field.shape[0]) if field.known else column

    def padded(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        return column if vectors.is_vector(column.type) else super().padded(column, field, value)

    def shapes(self, column: pa.Array, field: Field) -> npt.NDArray[np.int64]:
        return vectors.sizes(column)[:, None] if vectors.is_vector(column.type) else super().shapes(column, field)

    def stored_dtype(self, field: Field) -> str:
        return field.dtype if field.entries is None else ENTRY

    def stored_shape(self, field: Field) -> tuple[int, ...]:
        return field.shape if field.entries is None else (field.entries,)

    def packed(self, column: pa.Array, field: Field) -> Values:
        if field.entries is None:
            return super().packed(column, field)
        return vectors.packed(column, field.entries, field.columns[0])

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        (column,) = columns
        if not vectors.is_vector(column.type):
            return super().tensor(columns, field)
        sizes = vectors.sizes(column)
        size = field.shape[0] if field.known else int(sizes[0]) if len(sizes) else 0
        wrong = sizes != size
        if wrong.any():
            raise DataError(
                f"column {field.columns[0]!r} has {int(wrong.sum())} of {len(column)} vectors of the size "
                f"{int(sizes[wrong][0])}, {size} is needed: bring all rows to one length"
            )
        return _of_entries(vectors.entries_of(column), size, field.sparse)

    def from_packed(self, values: Values, field: Field) -> torch.Tensor:
        if field.entries is None:
            return super().from_packed(values, field)
        return _of_entries(vectors.unpacked(values), field.shape[0], field.sparse)


def _of_entries(entries: vectors.Entries, size: int, as_sparse: bool) -> torch.Tensor:
    import torch

    if as_sparse:
        indices = torch.from_numpy(np.stack([entries.rows, entries.indices]))
        # Rows and indices ascend, and none comes twice: so much Spark's vectors promise.
        return torch.sparse_coo_tensor(
            indices,
            torch.from_numpy(entries.values),
            (entries.vectors, size),
            is_coalesced=True,
            check_invariants=False,
        )
    dense = np.zeros((entries.vectors, size), dtype=np.float32)
    dense[entries.rows, entries.indices] = entries.values
    return torch.from_numpy(dense)
