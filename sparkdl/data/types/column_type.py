"""What a kind of column has to say of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.data.convert import arrow
from sparkdl.schema import INPUT, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

Values = npt.NDArray[Any]
"""Of one field, (n, *shape)."""


class Shaped(NamedTuple):
    """What a column's type tells of its tensor.

    Attributes
    ----------
    dtype : str
    shape : tuple of int
        Of one row; -1 where only the rows can tell.
    """

    dtype: str
    shape: tuple[int, ...]


class ColumnType(ABC):
    """One kind of column, from Spark's type to the tensor.

    The methods for Spark are called on the driver only, and import pyspark themselves: ranks have none. Those that make
    tensors import torch themselves: the Python workers of Spark that pack rows get on without it, and start seconds
    earlier.
    """

    kind: ClassVar[str]
    """Its name in `Field.kind`, in manifests and in saved models."""
    plural: ClassVar[str] = "arrays"
    """What its values are called in messages."""
    unequal: ClassVar[str] = "arrays of different lengths"
    """What values of different shapes are called in messages."""
    make_equal: ClassVar[str] = "make them equal"
    """What can be done about them."""
    fillable: ClassVar[bool] = True
    """Whether a value can stand for a null."""
    paddable: ClassVar[bool] = False
    """Whether shorter rows can be padded, in their first dimension."""
    derived: ClassVar[bool] = False
    """Whether it tells of another field's columns, so that its nulls are theirs."""
    stackable: ClassVar[bool] = False
    """Whether several such columns can become one tensor."""
    pixels: ClassVar[bool] = False
    """Whether packed rows hold uint8 that become float32 in [0, 1] on the network's device."""
    late: ClassVar[bool] = False
    """Whether values are far larger than what is stored of them, so that they are decoded piece by piece."""
    sparse: ClassVar[bool] = False
    """Whether most of a row may be 0, so that it can be kept as its other entries, and be a sparse tensor."""
    rows_at_once: ClassVar[int | None] = None
    """Rows that are packed together at most; None: all of an Arrow batch."""
    neutral: ClassVar[int] = 0
    """What a dry run fills the tensor with."""

    # Types

    @abstractmethod
    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        """Return what a column of that type becomes as an input, None if the type is not of this kind.

        DataError if it is, and something is missing that such columns need.
        """

    @abstractmethod
    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        """Return the same for a column of existing Parquet; `dtype` is that of fractions, None: as they are."""

    # In Spark

    @abstractmethod
    def expression(self, field: Field) -> Column:
        """Return the expression that brings a field to Arrow; a null, inside arrays too, stays null."""

    def present(self, field: Field, expression: Column) -> Column:
        """Return whether a row of a field has no null, inside arrays too."""
        return expression.isNotNull()

    def hashed(self, field: Field, filled: bool) -> list[Column]:
        """Return columns that tell two different rows of a field apart, for Spark's own hash function.

        That passes over nulls, so whether a row is null is hashed beside it; which of its elements are, only where
        nulls are `filled`: a fit is refused for any of them else.
        """
        value = self.expression(field)
        return [value.isNull(), value]

    def lengths(self, field: Field) -> list[Column]:
        """Return how long a row of a `paddable` field is in each of its dimensions, as int; null where it is null."""
        raise NotImplementedError(f"{self.kind} columns have no length")

    # In Arrow

    def filled(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        """Return the column with `value` in place of nulls; null rows of unknown length stay null."""
        return column

    def padded(self, column: pa.Array, field: Field, value: float) -> pa.Array:
        """Return the column with `value` behind the elements of rows that have too few for the field's shape."""
        return column

    def shapes(self, column: pa.Array, field: Field) -> npt.NDArray[np.int64]:
        """Return the shape of each row, (n, dimensions); 0 for nulls, -1 where a dimension differs within a row."""
        return np.ones((len(column), 1), dtype=np.int64)

    def first_shape(self, column: pa.Array, field: Field) -> tuple[int, ...] | None:
        """Return the shape of the first row, -1 where a dimension differs within it; None if it cannot be decoded."""
        return tuple(int(dimension) for dimension in self.shapes(column.slice(0, 1), field)[0])

    def remedy(self, field: Field, shapes: Iterable[str], padding: str) -> str:
        """Return what can be done about rows of several shapes, as manifests write them; `padding` is a setting."""
        if not self.paddable or field.role != INPUT:
            return self.make_equal
        parts = {shape.partition(",")[2] for shape in shapes if "," in shape and not shape.startswith("0,")}
        if len(parts) < 2 and not any("?" in part for part in parts):
            return f"{self.make_equal}, or set {padding}"
        return f"{self.make_equal} in all dimensions but the first, which {padding} pads"

    # Packed rows

    def stored_dtype(self, field: Field) -> str:
        """Return how a packed row holds a field."""
        return field.dtype

    def stored_shape(self, field: Field) -> tuple[int, ...]:
        """Return the shape of a field in one packed row."""
        return field.shape

    def stored_bytes(self, field: Field) -> int:
        """Return the bytes of a field in a packed row; its shape must be known."""
        return math.prod(self.stored_shape(field)) * np.dtype(self.stored_dtype(field)).itemsize

    def decoded_shape(self, field: Field) -> tuple[int, ...]:
        """Return the shape in which decoders write a row of a field."""
        return self.stored_shape(field)

    def in_shape(self, decoded: Values, field: Field) -> Values:
        """Return rows of a `decoded_shape`, (n, ...), as (n, *shape), without a copy."""
        return decoded

    def empty(self, field: Field, rows: int) -> Values:
        """Return memory for decoded rows of a field, (n, *shape), not initialised."""
        memory = np.empty((rows, *self.decoded_shape(field)), dtype=self.stored_dtype(field))
        return self.in_shape(memory, field)

    def packed(self, column: pa.Array, field: Field) -> Values:
        """Return rows without nulls, all of the field's shape, as packed rows hold them: (n, *stored_shape)."""
        return arrow.dense(column, field.dtype, field.shape)

    def decoded(self, columns: Sequence[pa.Array], field: Field) -> Values:
        """Return rows of existing Parquet, without nulls, as (n, *shape); they may share memory with Arrow."""
        values: Values = self.tensor(columns, field).numpy()
        return values

    def decode(self, column: pa.Array, field: Field, out: Values | Sequence[Values]) -> None:
        """Write the values of `late` columns into `out`, one array of the field's shape for each row."""
        raise NotImplementedError(f"{self.kind} columns are not decoded piece by piece")

    def fill(self, column: pa.Array, field: Field, out: Values | Sequence[Values]) -> list[tuple[int, ...] | None]:
        """Write those values of a `late` column that have the field's shape into `out`, as `decode` does.

        Returns the size of each; None where it cannot be decoded. Several threads may fill parts of one column.
        """
        raise NotImplementedError(f"{self.kind} columns are not decoded piece by piece")

    def check_sizes(self, sizes: Sequence[tuple[int, ...] | None], field: Field) -> None:
        """Raise DataError unless these sizes, as `fill` returns them, are all that of the field."""
        raise NotImplementedError(f"{self.kind} columns are not decoded piece by piece")

    # Tensors

    @abstractmethod
    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        """Return rows without nulls as a tensor, (n, *shape); see `to_tensor`."""

    def from_packed(self, values: Values, field: Field) -> torch.Tensor:
        """Return the tensor of what packed rows hold of a field; images stay uint8."""
        import torch

        tensor = torch.from_numpy(values)
        return tensor.to_sparse() if field.sparse else tensor

    def drawn(self, field: Field, rows: int, top: int) -> torch.Tensor:
        """Return random rows, dense; integers below `top`, or if it is negative all the largest of those below -top."""
        import torch

        shape = (rows, *field.shape)
        if field.dtype == "int64":
            return torch.randint(top, shape) if top > 0 else torch.full(shape, -top - 1)
        numbers = torch.rand(shape, dtype=getattr(torch, field.dtype))
        return numbers * (torch.rand(shape) < 0.5) if field.sparse else numbers
