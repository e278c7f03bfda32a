"""One field of the rows of a task: Arrow arrays in, what packed rows hold out, counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparkdl.data.convert import arrow, images, vectors
from sparkdl.data.format.statistics import FieldCounter
from sparkdl.schema import IMAGE, INPUT, LABEL, MASK, DataSchema, Field


class FieldReader:
    """Reads one field, and counts what it holds; the first row that has a shape fixes that of all that follow.

    Parameters
    ----------
    field : Field
        With its shape where it is known already.
    count_classes : sequence of str
        Scalar labels whose values are counted, by name of field or column.
    fill_value : float or None
        Stands for a whole array that is null.
    """

    def __init__(self, field: Field, count_classes: Sequence[str], fill_value: float | None) -> None:
        scalar_label = field.role == LABEL and field.shape == (1,)
        wanted = field.name in count_classes or field.columns[0] in count_classes
        self.field = field
        self.counter = FieldCounter(labels=field.role == LABEL, classes=Counter() if scalar_label and wanted else None)
        self._fill_value = fill_value if field.role == INPUT else None

    def read(self, column: Any) -> tuple[Any, arrow.Mask]:
        """Count nulls and shapes of one column; return it (or its decoded images) and which rows can be packed."""
        if self.field.kind == IMAGE:
            return self._read_images(column)
        nulls = arrow.null_rows(column)
        good = np.ones(len(column), dtype=bool) if nulls is None else ~nulls
        if self.field.kind == MASK:
            # Its nulls are those of the array, and counted there.
            self.counter.add_shapes(np.full((int(good.sum()), 1), self.field.shape[0], dtype=np.int64))
            return column, good
        shapes = self._shapes(column)
        self.counter.add_shapes(shapes[good])
        good = self._fix_shape(shapes, good)
        filled = 0
        if self._fill_value is not None and self.field.known and nulls is not None:
            # A null array of known length is filled as a whole; nulls inside arrays Spark has filled already.
            filled = int(nulls.sum())
            good = good | nulls
        self.counter.nulls += 0 if nulls is None else int(nulls.sum()) - filled
        return column, good

    def values(self, content: Any, good: arrow.Mask) -> npt.NDArray[Any]:
        """Return what packed rows hold, (n, *stored_shape), of the rows that are good in every field; counted."""
        values = self._values(content, good)
        if self.field.kind != MASK:
            self.counter.add_values(values if self.field.entries is None else values["f1"])
        return values

    def _values(self, content: Any, good: arrow.Mask) -> npt.NDArray[Any]:
        field = self.field
        if field.kind == IMAGE:
            return np.stack([content[row] for row in np.flatnonzero(good)])
        nulls = None if self._fill_value is None else arrow.null_rows(content)
        if nulls is None or not (nulls & good).any():
            return self._dense(content if good.all() else content.filter(good))
        values = np.zeros((int(good.sum()), *field.stored_shape), dtype=field.stored_dtype)
        if field.entries is None:
            values[:] = self._fill_value
        values[~nulls[good]] = self._dense(content.filter(good & ~nulls))
        return values

    def _dense(self, column: Any) -> npt.NDArray[Any]:
        field = self.field
        if field.kind == MASK:
            own: npt.NDArray[np.uint8] = (np.arange(field.shape[0]) < arrow.dense(column, "int64", ())[:, None]).astype(
                np.uint8
            )
            return own
        if field.entries is not None:
            return vectors.packed(column, field.entries, field.columns[0])
        return arrow.dense(column, field.dtype, field.shape)

    def _shapes(self, column: Any) -> npt.NDArray[np.int64]:
        if self.field.entries is not None:
            return vectors.sizes(column)[:, None]
        if arrow.is_list(column.type):
            return arrow.row_shapes(column, len(self.field.shape))
        return np.ones((len(column), 1), dtype=np.int64)

    def _read_images(self, column: Any) -> tuple[Any, arrow.Mask]:
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
