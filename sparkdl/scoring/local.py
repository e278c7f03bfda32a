"""A model's columns for rows that lie in this process, as numpy arrays or pandas: torch alone, no Spark session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from sparkdl.data.convert.arrow import depth, is_list, leaf, row_shapes
from sparkdl.data.convert.in_memory import to_array
from sparkdl.data.types import type_of
from sparkdl.errors import DataError, SettingTypeError, invalid, listed
from sparkdl.schema import Field
from sparkdl.scoring.score_plan import SKIP, ScoringPlan, chosen
from sparkdl.scoring.scorer import Scorer

if TYPE_CHECKING:
    import pandas as pd


_MOST_NAMES = 10
"""Columns that a message lists."""


class LocalScorer:
    """Scores rows in this process.

    Parameters
    ----------
    module : nn.Module
        Put into evaluation mode, on the GPU if there is one and the plan does not say "cpu".
    plan : ScoringPlan
    time_zone : str, optional
        Of times without a zone, where the network was trained on times of one; by default this machine's.
    """

    def __init__(self, module: nn.Module, plan: ScoringPlan, time_zone: str | None = None) -> None:
        device = plan.settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._scorer = Scorer(module, replace(plan.settings, device=device))
        self._plan = plan
        self._time_zone = time_zone

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(dict.fromkeys(name for field in self._plan.inputs for name in field.columns))

    @property
    def output_columns(self) -> tuple[str, ...]:
        """The columns that `predict` returns."""
        return tuple(column.name for column in self._plan.columns)

    def predict(self, rows: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
        """Return the columns that the model adds, a row for each row (fewer with handleInvalid "skip").

        Parameters
        ----------
        rows : pandas.DataFrame or mapping of str to array
            Columns of numbers, times, lists, numpy arrays, Spark ML vectors or bytes; or numpy arrays (n, ...). None
            and NA are null, NaN too where the network takes whole numbers.

        Raises
        ------
        SettingTypeError
            If `rows` are neither.
        DataError
            If a column is missing or does not fit the network.
        """
        import pandas as pd

        if not isinstance(rows, (pd.DataFrame, Mapping)):
            raise SettingTypeError(
                invalid("rows", _Kind(rows), f"a pandas DataFrame, or a dict with {_some(self.input_columns)} as keys")
            )
        columns = [self._columns(field, rows) for field in self._plan.inputs]
        self._check_lengths(columns)
        arrays = self._plan.repaired(columns)
        index = rows.index if isinstance(rows, pd.DataFrame) else None
        if self._plan.handle_invalid == SKIP:
            valid = ~np.logical_or.reduce([self._plan.nulls(columns) for columns in arrays])
            arrays = chosen(arrays, valid)
            index = index[valid] if index is not None else None
        results = self._plan.score_repaired(self._scorer, arrays, torch.get_num_threads())
        names = [column.name for column in self._plan.columns]
        values = {name: result.to_pandas() for name, result in zip(names, results, strict=True)}
        frame = pd.DataFrame(values)
        return frame if index is None else frame.set_index(index)

    def _columns(self, field: Field, rows: Any) -> list[pa.Array]:
        for name in field.columns:
            if name not in rows:
                raise DataError(f"column {name!r} is missing, the rows have {_some(list(map(str, rows)))}")
            if len(getattr(rows[name], "columns", ())):
                raise DataError(f"the rows have several columns {name!r}: keep one of them")
        times = field.types or ("",) * len(field.columns)
        arrays = [
            to_array(rows[name], name, field.dtype, time, self._time_zone)
            for name, time in zip(field.columns, times, strict=True)
        ]
        if type_of(field).late:
            return arrays
        return [_numbers(array, name, field) for array, name in zip(arrays, field.columns, strict=True)]

    def _check_lengths(self, columns: Sequence[Sequence[pa.Array]]) -> None:
        lengths = {
            name: len(array)
            for field, arrays in zip(self._plan.inputs, columns, strict=True)
            for name, array in zip(field.columns, arrays, strict=True)
        }
        if len(set(lengths.values())) > 1:
            shown = [f"{name!r} {count}" for name, count in lengths.items()][:_MOST_NAMES]
            raise DataError(
                f"the columns have different numbers of rows ({', '.join(shown)}): give each of them all rows"
            )


def _numbers(array: pa.Array, name: str, field: Field) -> pa.Array:
    """Return a column of which a row gives one number, as numbers; another one as it is. Text is refused."""
    kind = leaf(array).type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        raise DataError(f"column {name!r} holds {kind}s, the network takes numbers from it")
    if not is_list(array.type) or not (type_of(field).stackable or len(field.columns) > 1):
        return array
    if array.null_count or (row_shapes(array, depth(array.type)) != 1).any():
        raise DataError(f"column {name!r} holds lists, the network takes one number of each row from it")
    return leaf(array)


class _Kind:
    """Shows a value by its type: a large array would fill a screen."""

    def __init__(self, value: Any) -> None:
        self._name = type(value).__name__

    def __repr__(self) -> str:
        return f"<{self._name}>"


def _some(names: Sequence[str]) -> str:
    return listed(names, _MOST_NAMES) or "no columns"
