"""What goes into a network and what it learns: the fields of a row, as plain values.

Made on the driver from the DataFrame's schema (`data.schema_of`), carried to the tasks, kept in saved models.
A shape is that of one row, without the batch dimension; a dimension that only the rows can tell is -1 until the
manifest has counted it (`resolved`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

INPUT = "input"
LABEL = "label"
WEIGHT = "weight"

SCALAR = "scalar"
"""One numeric column; a row is (1,)."""
STACKED = "stacked"
"""Several numeric columns as one tensor; a row is (k,)."""
ARRAY = "array"
"""An array column, nested arrays too; a row is (k,) or (n, ...)."""
VECTOR = "vector"
"""A Spark ML vector; a row is (k,)."""
IMAGE = "image"
"""Spark's image struct, or JPEG or PNG bytes; a row is (3, H, W), uint8 as stored, float32 in [0, 1] as a tensor."""


@dataclass(frozen=True)
class Field:
    """One tensor of a row.

    Attributes
    ----------
    name : str
        Unique within the schema: "features", or the column's name for several inputs and labels.
    role : str
        INPUT, LABEL or WEIGHT.
    kind : str
        SCALAR, STACKED, ARRAY, VECTOR or IMAGE.
    columns : tuple of str
        The DataFrame's columns it comes from, as the user typed them; one, or several for STACKED.
    dtype : str
        As a tensor: "float32" or "int64".
    shape : tuple of int
        Of one row; -1 where it is not known yet.
    """

    name: str
    role: str
    kind: str
    columns: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]

    @property
    def stored_dtype(self) -> str:
        """How a packed row holds it: "uint8" for images, else `dtype`."""
        return "uint8" if self.kind == IMAGE else self.dtype

    @property
    def size(self) -> int:
        """Elements of one row; the shape must be known."""
        return math.prod(self.shape)

    @property
    def known(self) -> bool:
        """Whether every dimension is known."""
        return all(dimension >= 0 for dimension in self.shape)


@dataclass(frozen=True)
class DataSchema:
    """The fields of a row, inputs first, then labels, then the weight if there is one."""

    fields: tuple[Field, ...]

    @property
    def inputs(self) -> tuple[Field, ...]:
        """The fields that go into the network, in its order."""
        return tuple(f for f in self.fields if f.role == INPUT)

    @property
    def labels(self) -> tuple[Field, ...]:
        """The fields that it learns."""
        return tuple(f for f in self.fields if f.role == LABEL)

    @property
    def weight(self) -> Field | None:
        """The field of the row weights."""
        return next((f for f in self.fields if f.role == WEIGHT), None)

    def resolved(self, shapes: Mapping[str, tuple[int, ...]]) -> DataSchema:
        """Return a schema whose fields have the shapes given by name."""
        return DataSchema(tuple(replace(f, shape=tuple(shapes.get(f.name, f.shape))) for f in self.fields))

    def inputs_only(self) -> DataSchema:
        """Return the schema of scoring: inputs alone."""
        return DataSchema(self.inputs)

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON values."""
        return [asdict(f) for f in self.fields]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> DataSchema:
        """Return the schema that `to_json` has written."""
        return cls(tuple(Field(**{**f, "columns": tuple(f["columns"]), "shape": tuple(f["shape"])}) for f in value))
