"""Which elements of a padded array or vector are its own: a row is (k,), uint8 as stored, bool as a tensor.

The elements of an array of arrays are arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sparkdl.data.convert import arrow
from sparkdl.data.types.column_type import ColumnType, Shaped, Values
from sparkdl.schema import MASK, VECTOR, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType


class MaskType(ColumnType):
    """A mask; Arrow brings how many elements a row has of its own."""

    kind = MASK
    derived = True
    neutral = 1

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        return None

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        return None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import array_size, vector_size

        return vector_size(field.columns[0]) if field.types == (VECTOR,) else array_size(field.columns[0])

    def hashed(self, field: Field, filled: bool) -> list[Column]:
        return []

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        # An array that was null and is filled has no padding.
        sizes = arrow.sizes(column)
        return pc.fill_null(sizes, pa.scalar(np.iinfo(np.int32).max).cast(sizes.type))

    def shapes(self, column: pa.Array, field: Field) -> npt.NDArray[np.int64]:
        return np.full((len(column), 1), field.shape[0], dtype=np.int64)

    def stored_dtype(self, field: Field) -> str:
        return "uint8"

    def packed(self, column: pa.Array, field: Field) -> Values:
        return self._own(column, field).view(np.uint8)

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        import torch

        return torch.from_numpy(self._own(columns[0], field))

    def from_packed(self, values: Values, field: Field) -> torch.Tensor:
        import torch

        return torch.from_numpy(values).to(torch.bool)

    def drawn(self, field: Field, rows: int, top: int) -> torch.Tensor:
        import torch

        return torch.arange(field.shape[0]) < torch.randint(1, field.shape[0] + 1, (rows, 1))

    def _own(self, column: pa.Array, field: Field) -> npt.NDArray[np.bool_]:
        own: npt.NDArray[np.bool_] = np.arange(field.shape[0]) < arrow.dense(arrow.sizes(column), "int64", ())[:, None]
        return own
