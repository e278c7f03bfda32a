"""Inputs of a network bound to other columns: masks follow what they mask, times are counted; without Spark."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import ArrayType, DateType, LongType, StringType, StructField, StructType, TimestampType
from torch import nn

from sparkdl.errors import DataError, SettingError
from sparkdl.schema import ARRAY, DATE, INPUT, MASK, SCALAR, TIMESTAMP, VECTOR, Field
from sparkdl.scoring.inputs import bound_inputs
from sparkdl.scoring.local import LocalScorer
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings

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
