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
VALIDATION = "validation"
"""Role of a column that is no field: it tells which rows are only measured."""

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
IMAGE_PARTS = frozenset({"height", "width", "nChannels", "mode", "data"})
"""What Spark's image struct has."""
MASK = "mask"
"""Which elements of a padded array or vector are its own and not padding; a row is (k,), uint8 as stored, bool.

The elements of an array of arrays are arrays."""

DATE, TIMESTAMP, TIMESTAMP_NTZ = "date", "timestamp", "timestamp_ntz"
"""Types that are counted: days since 1970-01-01, whole seconds since 1970-01-01 00:00:00 (UTC; as written for NTZ)."""

FRACTION = "fraction"
"""The type of a column that may hold NaN where the tensor has whole numbers: there NaN is a null."""

ENTRY = "i4,f4"
"""An entry of a sparse vector as stored: its place, from 1 on (0: there is none), and its value."""


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
        SCALAR, STACKED, ARRAY, VECTOR, IMAGE or MASK.
    columns : tuple of str
        The DataFrame's columns it comes from, as the user typed them; one, or several for STACKED.
    dtype : str
        As a tensor: "float32", "float64", "int64" or "bool".
    shape : tuple of int
        Of one row; -1 where it is not known yet.
    types : tuple of str
        For each column DATE, TIMESTAMP, TIMESTAMP_NTZ or FRACTION, for a mask VECTOR or ARRAY, else ""; empty: all "".
    entries : int or None
        Of a vector: how many entries that are not 0 a packed row has room for; None: a packed row holds all numbers.
    sparse : bool
        Of a vector: its tensor is a sparse one (COO).
    """

    name: str
    role: str
    kind: str
    columns: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    types: tuple[str, ...] = ()
    entries: int | None = None
    sparse: bool = False

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

    @property
    def masks(self) -> dict[str, Field]:
        """The mask of each padded input, by the input's name."""
        masks = {f.columns: f for f in self.inputs if f.kind == MASK}
        return {f.name: masks[f.columns] for f in self.inputs if f.kind in (ARRAY, VECTOR) and f.columns in masks}

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON values."""
        return [asdict(f) for f in self.fields]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> DataSchema:
        """Return the schema that `to_json` has written."""
        lists = ("columns", "shape", "types")
        fields: list[dict[str, Any]] = [{k: tuple(v) if k in lists else v for k, v in f.items()} for f in value]
        return cls(tuple(Field(**f) for f in fields))
