"""One field of the rows of a task: Arrow arrays in, what packed rows hold out, counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparkdl.data.convert import arrow, images
from sparkdl.data.format.statistics import FieldCounter
from sparkdl.data.types import type_of
from sparkdl.schema import INPUT, LABEL, DataSchema, Field


class FieldReader:
    """Reads one field, and counts what it holds; the first row that has a shape fixes that of all that follow.

    Parameters
    ----------
    field : Field
        With its shape where it is known already.
    count_classes : sequence of str
        Scalar labels whose values are counted, by name of field or column.
    fill_value, pad_value : float or None
        For nulls in inputs; behind the elements of shorter arrays and vectors, up to the field's shape.
    """

    def __init__(
        self, field: Field, count_classes: Sequence[str], fill_value: float | None, pad_value: float | None = None
    ) -> None:
        scalar_label = field.role == LABEL and field.shape == (1,)
        wanted = field.name in count_classes or field.columns[0] in count_classes
        self.field = field
        self.counter = FieldCounter(labels=field.role == LABEL, classes=Counter() if scalar_label and wanted else None)
        self._type = type_of(field)
        self._fill_value = fill_value if field.role == INPUT else None
        self._pad_value = pad_value if field.role == INPUT and field.known else None

    def read(self, column: Any) -> tuple[Any, arrow.Mask]:
        """Count nulls and shapes of one column; return it (or its decoded images) and which rows can be packed."""
        if self._type.pixels:
            return self._read_images(column)
        if self._fill_value is not None:
            # Arrays and vectors that are null whole are filled where the shape is known.
            column = self._type.filled(column, self.field, self._fill_value)
        if self._pad_value is not None:
            column = self._type.padded(column, self.field, self._pad_value)
        shapes, good = self._type.shapes(column, self.field), _valid(column)
        self.counter.add_shapes(shapes[good])
        if not self._type.derived:
            self.counter.nulls += int((~good).sum())
        return column, self._fix_shape(shapes, good)

    def values(self, content: Any, good: arrow.Mask) -> npt.NDArray[Any]:
        """Return what packed rows hold, (n, *stored_shape), of the rows that are good in every field; counted."""
        if self._type.pixels:
            values = np.stack([content[row] for row in np.flatnonzero(good)])
        else:
            values = self._type.packed(content if good.all() else content.filter(good), self.field)
        if not self._type.derived:
            self.counter.add_values(values if values.dtype.names is None else values["f1"])
        return values

    def _read_images(self, column: Any) -> tuple[Any, arrow.Mask]:
        with images.of_column(self.field.columns[0]):
            decoded = images.decode_all(column)
        good = np.array([image is not None for image in decoded], dtype=bool)
        self.counter.nulls += int((~good).sum())
        self.counter.undecodable += int((~good).sum()) - column.null_count
        shapes = np.array([(0, 0, 0) if p is None else p.shape for p in decoded], dtype=np.int64).reshape(-1, 3)
        self.counter.add_shapes(shapes[good])
        return decoded, self._fix_shape(shapes, good)

    def _fix_shape(self, shapes: npt.NDArray[np.int64], good: arrow.Mask) -> arrow.Mask:
        regular = good & (shapes >= 0).all(axis=1)
        if not self.field.known and regular.any():
            shape = tuple(int(dimension) for dimension in shapes[regular.argmax()])
            self.field = DataSchema((self.field,)).resolved({self.field.name: shape}).fields[0]
        matching: arrow.Mask = regular & (shapes == np.array(self.field.shape)).all(axis=1)
        return matching


def _valid(column: Any) -> arrow.Mask:
    nulls = arrow.null_rows(column)
    return np.ones(len(column), dtype=bool) if nulls is None else ~nulls
