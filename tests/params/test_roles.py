from __future__ import annotations

import pytest

from sparkdl.errors import SettingError
from sparkdl.params.roles import added_columns, inputs_of, labels_of, weight_of
from sparkdl.params.stages import ClassifierParams, EstimatorParams, RegressorParams


def test_one_column_is_one_input() -> None:
    assert inputs_of(RegressorParams()) == [("features", ["features"])]
    assert inputs_of(RegressorParams(featuresCol="pixels")) == [("features", ["pixels"])]


def test_several_columns_are_stacked_or_stand_apart() -> None:
    assert inputs_of(RegressorParams(featuresCols=["a", "b"])) == [("features", ["a", "b"])]
    assert inputs_of(RegressorParams(inputCols=["a", "b"])) == [("a", ["a"]), ("b", ["b"])]


@pytest.mark.parametrize(
    "given",
    [
        {"featuresCol": "a", "featuresCols": ["b"]},
        {"featuresCol": "a", "inputCols": ["b"]},
        {"featuresCols": ["a"], "inputCols": ["b"]},
    ],
)
def test_inputs_are_named_in_one_way(given: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        inputs_of(RegressorParams(**given))
    assert all(name in str(error.value) for name in given)


def test_labels() -> None:
    assert labels_of(ClassifierParams(labelCol="y")) == ["y"]
    assert labels_of(EstimatorParams(labelCols=["y", "z"])) == ["y", "z"]
    with pytest.raises(SettingError, match="labelCol='y' and labelCols="):
        labels_of(EstimatorParams(labelCol="y", labelCols=["z"]))


def test_an_empty_weight_column_is_none() -> None:
    assert weight_of(RegressorParams(weightCol="")) is None
    assert weight_of(RegressorParams(weightCol="w")) == "w"


def test_added_columns_leave_empty_names_out() -> None:
    assert added_columns(RegressorParams()) == {"predictionCol": "prediction"}
    assert added_columns(ClassifierParams(rawPredictionCol="")) == {
        "predictionCol": "prediction",
        "probabilityCol": "probability",
    }
    assert added_columns(EstimatorParams(outputCols=["a", "", "b"])) == {"outputCols[0]": "a", "outputCols[2]": "b"}
    with pytest.raises(SettingError, match="predictionCol='p' and outputCols="):
        added_columns(EstimatorParams(predictionCol="p", outputCols=["a"]))
