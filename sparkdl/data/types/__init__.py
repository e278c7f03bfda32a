"""One object for each kind of column: what it is in Spark, in Arrow, in a packed row and as a tensor.

Writing, existing Parquet and scoring (by Spark, by streams, in one process) all ask these objects, so that a row means
the same tensor wherever it goes. To add a kind of column, write a module with a `ColumnType` and name it in `TYPES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sparkdl.data.types.array import ArrayType
from sparkdl.data.types.column_type import ColumnType, Shaped, Values
from sparkdl.data.types.image import ImageType
from sparkdl.data.types.mask import MaskType
from sparkdl.data.types.number import ScalarType, StackedType
from sparkdl.data.types.vector import VectorType
from sparkdl.schema import Field

if TYPE_CHECKING:
    import torch

__all__ = ["TYPES", "ColumnType", "Shaped", "Values", "from_packed", "split_packed", "to_tensor", "type_of"]

TYPES: dict[str, ColumnType] = {
    each.kind: each for each in (ScalarType(), StackedType(), ArrayType(), VectorType(), ImageType(), MaskType())
}
"""By kind; the first one that takes a column's type has it."""


def type_of(field: Field) -> ColumnType:
    """Return the column type of a field."""
    return TYPES[field.kind]


def to_tensor(columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
    """Return the rows of a field as a tensor.

    Parameters
    ----------
    columns : sequence of pyarrow.Array
        One array of n rows without nulls; or, for a stacked field, one for each of its columns. May be slices.
    field : Field
        Dimensions of its shape that are -1 are taken from the rows.

    Returns
    -------
    Tensor
        (n, *shape), of the field's dtype; images float32 in [0, 1]; sparse (COO) where the field says so. It shares
        memory with Arrow where it can: do not write to it.

    Raises
    ------
    DataError
        Rows of different shapes, or of another shape than the field's; bytes that are no image.
    """
    return type_of(field).tensor(columns, field)


def from_packed(values: Values, field: Field) -> torch.Tensor:
    """Return the rows of a field as a tensor, from what packed rows hold of it, (n, *stored_shape).

    The tensor is that of `to_tensor`, but for images, which stay uint8. It shares memory with `values` where it can.
    """
    return type_of(field).from_packed(values, field)


def split_packed(values: Values, field: Field, sizes: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return the rows of a field as one tensor of each size, from what packed rows hold of them all."""
    if field.sparse:
        # Sparse tensors cannot be cut.
        return [from_packed(part, field) for part in np.split(values, np.cumsum(sizes)[:-1])]
    tensor = from_packed(values, field)
    return (tensor,) if len(sizes) == 1 else tensor.split(list(sizes))
