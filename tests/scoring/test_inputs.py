"""Inputs of a network bound to other columns: masks follow what they mask, times are counted; without Spark."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import ArrayType, DateType, LongType, StringType, StructField, StructType, TimestampType
from torch import nn

from sparkdl.errors import DataError, SettingError
from sparkdl.schema import ARRAY, DATE, INPUT, MASK, SCALAR, STACKED, TIMESTAMP, VECTOR, Field
from sparkdl.scoring.inputs import bound_inputs
from sparkdl.scoring.local import LocalScorer
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.tracking.pyfunc import Predictor

FIELDS = (
    Field("words", INPUT, ARRAY, ("words",), "int64", (3,)),
    Field("when", INPUT, SCALAR, ("when",), "int64", (1,), (TIMESTAMP,)),
    Field("words (mask)", INPUT, MASK, ("words",), "bool", (3,), (ARRAY,)),
)
OTHERS = StructType(
    [
        StructField("tokens", ArrayType(LongType())),
        StructField("vector", VectorUDT()),
        StructField("day", DateType()),
        StructField("time", TimestampType()),
        StructField("name", StringType()),
    ]
)


class Sums(nn.Module):
    def forward(self, words: Any, when: Any, mask: Any) -> Any:
        return (words * mask).sum(1, keepdim=True) * 10.0 + when % 10 + mask.sum(1, keepdim=True) / 8


def test_masks_and_times_follow_the_columns() -> None:
    words, when, mask = bound_inputs(FIELDS, [("tokens",), ("time",)], OTHERS)
    assert (words.columns, words.kind) == (("tokens",), ARRAY)
    assert (when.columns, when.types) == (("time",), (TIMESTAMP,))
    assert (mask.columns, mask.kind, mask.types, mask.shape) == (("tokens",), MASK, (ARRAY,), (3,))
    words, when, mask = bound_inputs(FIELDS, [("vector",), ("day",)], OTHERS)
    assert (words.kind, when.types, mask.columns, mask.types) == (VECTOR, (DATE,), ("vector",), (VECTOR,))
    assert bound_inputs(FIELDS, [("words",), ("when",)], None) == FIELDS
    with pytest.raises(SettingError, match="the network has 2 inputs, and columns for 1 are named"):
        bound_inputs(FIELDS, [("tokens",)], OTHERS)
    with pytest.raises(DataError, match="'name' is of type string"):
        bound_inputs(FIELDS, [("tokens",), ("name",)], OTHERS)


def test_rows_in_this_process_are_padded_masked_and_counted_as_in_training() -> None:
    plan = ScoringPlan(FIELDS, GenericHead(("p",), ((1,),)), (), ScorerSettings(device="cpu"), pad_value=9.0)
    scorer = LocalScorer(Sums(), plan)
    assert scorer.input_columns == ("words", "when")
    times = [dt.datetime(1970, 1, 1, 0, 0, second, tzinfo=dt.UTC) for second in (3, 4)]
    rows = pd.DataFrame({"words": [[1, 2, 3], [5]], "when": times})
    assert scorer.predict(rows)["p"].tolist() == [60 + 3 + 3 / 8, 50 + 4 + 1 / 8]


class Double(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).double()


@pytest.mark.parametrize("dtype", [None, "Int64", object])
def test_a_missing_whole_number_is_a_null_row(dtype: Any) -> None:
    field = Field("n", INPUT, SCALAR, ("n",), "int64", (1,))
    rows = pd.DataFrame({"n": pd.Series([5, None, 7], [10, 11, 12], dtype=dtype)})

    def predicted(invalid: str, fill: float | None = None) -> pd.DataFrame:
        head = GenericHead(("p",), ((1,),))
        plan = ScoringPlan((field,), head, (), ScorerSettings(device="cpu"), invalid, fill)
        return Predictor(LocalScorer(Double(), plan)).predict(rows)

    with pytest.raises(DataError, match="column 'n': 1 null rows in a batch of 3"):
        predicted("error")
    assert predicted("skip").to_dict() == {"p": {10: 10.0, 12: 14.0}}
    kept = predicted("keep")["p"]
    assert (kept.isna().tolist(), kept.dropna().to_dict()) == ([False, True, False], {10: 10.0, 12: 14.0})
    assert predicted("error", 3.0)["p"].tolist() == [10, 6, 14]


def test_times_without_a_zone_are_those_of_the_training() -> None:
    plan = ScoringPlan(FIELDS[1:2], GenericHead(("p",), ((1,),)), (), ScorerSettings(device="cpu"))
    rows = pd.DataFrame({"when": [dt.datetime(2024, 7, 1, 12)]})
    (seconds,) = LocalScorer(Double(), plan, "America/New_York").predict(rows)["p"]
    assert seconds == 2 * dt.datetime(2024, 7, 1, 16, tzinfo=dt.UTC).timestamp()


PAIR = Field("x, y", INPUT, STACKED, ("x", "y"), "float32", (2,))
WHOLE = Field("k", INPUT, SCALAR, ("k",), "int64", (1,))


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


def scored(field: Field, rows: Any, handle_invalid: str = "error") -> Any:
    head = GenericHead(("p",), (field.shape,))
    plan = ScoringPlan((field,), head, (), ScorerSettings(device="cpu"), handle_invalid)
    return LocalScorer(Same(), plan).predict(rows)["p"]


@pytest.mark.parametrize(
    ("field", "rows", "message"),
    [
        (PAIR, {"x": [1.0, 2.0, 3.0], "y": [9.0]}, r"different numbers of rows \('x' 3, 'y' 1\): give each"),
        (PAIR, {"x": [[1.0, 2.0], []], "y": [1.0, 2.0]}, "column 'x' holds lists, the network takes one number"),
        (WHOLE, {"k": np.ones((3, 2))}, "column 'k' holds lists, the network takes one number"),
        (PAIR, pd.DataFrame([[1.0, 2.0, 3.0]], columns=["x", "x", "y"]), "the rows have several columns 'x'"),
        (PAIR, {"x": ["a", "b"], "y": [1.0, 2.0]}, "column 'x' holds strings, the network takes numbers"),
        (PAIR, {"x": 1.0, "y": [1.0]}, "column 'x' cannot be read as numbers, arrays or bytes"),
        (WHOLE, {"k": [2**70]}, "column 'k' cannot be read as numbers, arrays or bytes"),
        (WHOLE, {"k": [1e30]}, "a number that is too large in a column of which the network takes whole numbers"),
        (WHOLE, {"k": [2.0**63]}, "a number that is too large"),
        (WHOLE, {"k": np.array([2**63 + 5], dtype="u8")}, "a number that is too large"),
        (WHOLE, {"k": [Decimal(10) ** 25]}, "a number that is too large"),
        (WHOLE, {"k": np.array([5], dtype="m8[s]")}, "column 'k' holds durations"),
        (WHOLE, {"k": np.ma.array([1, 2], mask=[0, 1])}, "column 'k': 1 null rows in a batch of 2"),
    ],
)
def test_rows_in_this_process_that_do_not_fit_are_refused(field: Field, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scored(field, rows)


def test_rows_in_this_process_of_other_layouts() -> None:
    assert scored(WHOLE, {"k": np.array([3, -4], dtype=">i4")}).tolist() == [3, -4]
    assert scored(WHOLE, {"k": np.array([[3], [4]])}).tolist() == [3, 4]
    assert scored(WHOLE, {"k": [-(2.0**63)]}).tolist() == [-(2.0**63)]
    two = scored(PAIR, {"x": np.array([[1.0], [2.0]]), "y": np.arange(4.0)[::2]})
    assert [list(row) for row in two] == [[1, 0], [2, 2]]
    whole, null = scored(PAIR, {"x": np.ma.array([1.0, 2.0], mask=[0, 1]), "y": [1.0, 2.0]}, "keep")
    assert (list(whole), null) == ([1, 1], None)
