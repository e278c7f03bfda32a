"""What the executors need to know to score rows: plain values, and the one way from Arrow arrays to Arrow arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor

from sparkdl.data.convert.arrow import from_numpy
from sparkdl.data.convert.tensors import null_rows
from sparkdl.data.types import type_of
from sparkdl.errors import DataError, subject
from sparkdl.schema import Field
from sparkdl.scoring.ahead import started_ahead
from sparkdl.scoring.decoder import Columns, Waits, decoder
from sparkdl.scoring.outputs import ARRAY, Head, OutputColumn, to_arrow
from sparkdl.scoring.scorer import Scorer, ScorerSettings

_PART_BYTES = 64 << 20
"""Of rows that are decoded together, where they become far larger than Arrow has them."""

ERROR, SKIP, KEEP = "error", "skip", "keep"


@dataclass(frozen=True)
class _Part:
    """Rows of a batch that are decoded together: without those of the batch that are `invalid`, if there are any."""

    arrays: Sequence[Columns]
    invalid: npt.NDArray[np.bool_] | None
    last: bool


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

    def score_repaired(self, scorer: Scorer, arrays: Sequence[Columns], threads: int = 1) -> list[pa.Array]:
        """Return what `score` returns, for inputs that `repaired` has returned; `threads` as `stream` has them."""
        with closing(self.stream(scorer, iter([arrays]), threads)) as columns:
            return next(columns)

    def stream(
        self, scorer: Scorer, batches: Iterator[Sequence[Columns]], threads: int
    ) -> Generator[list[pa.Array], None, None]:
        """Yield what `score_repaired` returns for each of many batches, in order.

        Beside a GPU the next rows are decoded while it computes. On a CPU no batch is taken before the one before is
        done, and threads decode what is computed next.

        Parameters
        ----------
        scorer : Scorer
        batches : iterator
            Of inputs as `repaired` returns them.
        threads : int
            That may decode.
        """
        begun: deque[_Part] = deque()
        done: list[list[pa.Array]] = []
        with decoder(self.inputs, threads, scorer.overlaps) as rows:

            def begin(part: _Part) -> Waits[list[Tensor]]:
                begun.append(part)
                return rows.begin(part.arrays) if len(part.arrays[0][0]) else list

            decoding = started_ahead(self._parts(scorer, batches), begin, 1 if scorer.overlaps else 0)
            with closing(scorer.stream(_waited_for(decoding))) as results:
                for outputs in results:
                    part = begun.popleft()
                    done.append(self._columns_of(outputs))
                    if part.last:
                        columns, done = _joined(done), []
                        yield columns if part.invalid is None else [_spread(each, part.invalid) for each in columns]

    def _parts(self, scorer: Scorer, batches: Iterator[Sequence[Columns]]) -> Generator[_Part, None, None]:
        """Cut batches so that what is decoded of a part does not fill memory."""
        for arrays in batches:
            invalid = self._invalid(arrays)
            valid = list(arrays) if invalid is None else chosen(arrays, ~invalid)
            count, start = len(valid[0][0]), 0
            while True:
                size = self._rows_of_a_part(scorer.rows_at_once)
                part = [[array.slice(start, size) for array in columns] for columns in valid]
                start += size
                yield _Part(part, invalid, start >= count)
                if start >= count:
                    break

    def _columns_of(self, outputs: Sequence[Tensor]) -> list[pa.Array]:
        if not outputs:
            return [pa.nulls(0, arrow_type(column)) for column in self.columns]
        layers = len(self.layer_columns)
        own, inner = outputs[: len(outputs) - layers], outputs[len(outputs) - layers :]
        tensors = [*self.head.compute(own), *inner]
        return [to_arrow(tensor, column) for tensor, column in zip(tensors, self.columns, strict=True)]

    def _rows_of_a_part(self, at_once: int) -> int:
        """Rows that are decoded together: a number of those that are computed at once, where that is known."""
        size = sum(map(_decoded_bytes, self.inputs))
        if not size:
            return 1 << 62
        at_once = max(1, at_once)
        return max(1, _PART_BYTES // size // at_once) * at_once

    def nulls(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return which rows are null or hold a null, (n,)."""
        found = null_rows(columns)
        return np.zeros(len(columns[0]), dtype=np.bool_) if found is None else found

    def _repaired(self, array: pa.Array, field: Field) -> pa.Array:
        kind = type_of(field)
        if self.fill_value is not None:
            array = kind.filled(array, field, self.fill_value)
        return array if self.pad_value is None else kind.padded(array, field, self.pad_value)

    def _invalid(self, arrays: Sequence[Columns]) -> npt.NDArray[np.bool_] | None:
        found: npt.NDArray[np.bool_] | None = None
        for columns, field in zip(arrays, self.inputs, strict=True):
            nulls = null_rows(columns)
            if nulls is None or not nulls.any():
                continue
            if self.handle_invalid != KEEP:
                raise DataError(
                    f"{subject(field.columns)}: {int(nulls.sum())} null rows in a batch of {len(columns[0])}: fill "
                    "them, or set handleInvalid to 'skip' or 'keep'"
                )
            found = nulls if found is None else found | nulls
        return found


def chosen(arrays: Sequence[Columns], rows: npt.NDArray[np.bool_]) -> list[Columns]:
    """Return those rows of the inputs."""
    mask = from_numpy(rows)
    return [[array.filter(mask) for array in columns] for columns in arrays]


def arrow_type(column: OutputColumn) -> pa.DataType:
    """Return the Arrow type of a column."""
    kind = pa.float32() if column.type == ARRAY else pa.float64()
    for _ in column.shape:
        kind = pa.list_(kind)
    return kind


def _decoded_bytes(field: Field) -> int:
    """Bytes of a decoded row, 0 where Arrow has as many."""
    if field.entries is not None and not field.sparse:
        return 4 * field.size
    kind = type_of(field)
    return kind.stored_bytes(field) if kind.late and field.known else 0


def _waited_for(decoding: Generator[Waits[list[Tensor]], None, None]) -> Generator[list[Tensor], None, None]:
    with closing(decoding):
        for wait in decoding:
            yield wait()


def _joined(parts: Sequence[list[pa.Array]]) -> list[pa.Array]:
    return parts[0] if len(parts) == 1 else [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]


def _spread(column: pa.Array, invalid: npt.NDArray[np.bool_]) -> pa.Array:
    """Put null rows back where they stood."""
    places = np.cumsum(~invalid) - 1
    return column.take(from_numpy(places, invalid))
