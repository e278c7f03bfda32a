"""What the executors need to know to score rows: plain values, and the one way from Arrow arrays to Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.data.convert.tensors import null_rows
from sparkdl.data.types import to_tensor, type_of
from sparkdl.errors import DataError
from sparkdl.schema import Field
from sparkdl.scoring.outputs import ARRAY, Head, OutputColumn, to_arrow
from sparkdl.scoring.scorer import Scorer, ScorerSettings

_DENSE_NUMBERS = 1 << 25

Columns = Sequence[pa.Array]
"""Of one input: one array, or one for each of the columns that are stacked."""

ERROR, SKIP, KEEP = "error", "skip", "keep"


@dataclass(frozen=True)
class ScoringPlan:
    """How rows become columns.

    Attributes
    ----------
    inputs : tuple of Field
        Of the network, in its order.
    head : Head
    layer_columns : tuple of OutputColumn
        One for each of ``settings.layers``.
    settings : ScorerSettings
        `device` is "auto", "cpu" or "cuda" until a worker has made it a device of its own.
    handle_invalid : str
        ERROR, SKIP (the rows never come here) or KEEP.
    fill_value, pad_value : float or None
        As in training: in place of nulls, and behind the elements of shorter arrays.
    """

    inputs: tuple[Field, ...]
    head: Head
    layer_columns: tuple[OutputColumn, ...]
    settings: ScorerSettings
    handle_invalid: str = ERROR
    fill_value: float | None = None
    pad_value: float | None = None

    @property
    def columns(self) -> tuple[OutputColumn, ...]:
        """The columns that are added, in order."""
        return (*self.head.columns(), *self.layer_columns)

    def score(self, scorer: Scorer, arrays: Sequence[Columns]) -> list[pa.Array]:
        """Return one Arrow array for each of `columns`.

        Parameters
        ----------
        scorer : Scorer
        arrays : sequence of sequence of pyarrow.Array
            For each input one, or one for each of the columns that are stacked; all of the same length.

        Raises
        ------
        DataError
            For null rows where `handle_invalid` is ERROR, and for rows of another shape than the network's input.
        """
        return self.score_repaired(scorer, self.repaired(arrays))

    def repaired(self, arrays: Sequence[Columns]) -> list[Columns]:
        """Return the inputs with nulls filled and shorter arrays padded, as the plan says."""
        return [
            [self._repaired(array, field) for array in columns]
            for columns, field in zip(arrays, self.inputs, strict=True)
        ]

    def score_repaired(self, scorer: Scorer, arrays: Sequence[Columns]) -> list[pa.Array]:
        """Return what `score` returns, for inputs that `repaired` has returned."""
        rows = len(arrays[0][0])
        limit = self._rows_at_once()
        if rows > limit:
            parts = [
                self.score_repaired(scorer, [[a.slice(start, limit) for a in columns] for columns in arrays])
                for start in range(0, rows, limit)
            ]
            return [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]
        invalid = self._invalid(arrays)
        if invalid is not None:
            arrays = chosen(arrays, ~invalid)
        if len(arrays[0][0]) == 0:
            return [pa.nulls(rows, arrow_type(column)) for column in self.columns]
        inputs = [to_tensor(columns, field) for columns, field in zip(arrays, self.inputs, strict=True)]
        results = scorer(inputs)
        layers = len(self.layer_columns)
        outputs, inner = results[: len(results) - layers], results[len(results) - layers :]
        tensors = [*self.head.compute(outputs), *inner]
        columns = [to_arrow(tensor, column) for tensor, column in zip(tensors, self.columns, strict=True)]
        return columns if invalid is None else [_spread(column, invalid) for column in columns]

    def nulls(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return which rows are null or hold a null, (n,)."""
        found = null_rows(columns)
        return np.zeros(len(columns[0]), dtype=np.bool_) if found is None else found

    def _repaired(self, array: pa.Array, field: Field) -> pa.Array:
        kind = type_of(field)
        if self.fill_value is not None:
            array = kind.filled(array, field, self.fill_value)
        return array if self.pad_value is None else kind.padded(array, field, self.pad_value)

    def _rows_at_once(self) -> int:
        """Rows whose sparse vectors may be dense at once."""
        dense = sum(field.size for field in self.inputs if field.entries is not None and not field.sparse)
        return max(1, _DENSE_NUMBERS // dense) if dense else 1 << 62

    def _invalid(self, arrays: Sequence[Columns]) -> npt.NDArray[np.bool_] | None:
        found: npt.NDArray[np.bool_] | None = None
        for columns, field in zip(arrays, self.inputs, strict=True):
            nulls = null_rows(columns)
            if nulls is None or not nulls.any():
                continue
            if self.handle_invalid != KEEP:
                raise DataError(
                    f"column {', '.join(map(repr, field.columns))} has {int(nulls.sum())} null rows in a batch of "
                    f"{len(columns[0])}: fill them, or set handleInvalid to 'skip' or 'keep'"
                )
            found = nulls if found is None else found | nulls
        return found


def chosen(arrays: Sequence[Columns], rows: npt.NDArray[np.bool_]) -> list[Columns]:
    """Return those rows of the inputs."""
    mask = pa.array(rows)
    return [[array.filter(mask) for array in columns] for columns in arrays]


def arrow_type(column: OutputColumn) -> pa.DataType:
    """Return the Arrow type of a column."""
    kind = pa.float32() if column.type == ARRAY else pa.float64()
    for _ in column.shape:
        kind = pa.list_(kind)
    return kind


def _spread(column: pa.Array, invalid: npt.NDArray[np.bool_]) -> pa.Array:
    """Put null rows back where they stood."""
    places = np.cumsum(~invalid) - 1
    return column.take(pa.array(places, mask=invalid))
