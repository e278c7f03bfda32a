"""Grids over classes, functions and networks, saved and loaded by Spark's own writers of searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.tuning import (
    CrossValidator,
    ParamGridBuilder,
    TrainValidationSplit,
    TrainValidationSplitModel,
)
from pyspark.sql import SparkSession
from torch import nn

from sparkdl import TorchEstimator
from sparkdl.errors import PersistenceError, SettingError
from sparkdl.network import register
from sparkdl.persistence import GridValue
from sparkdl.train import EMA


class Line(nn.Module):
    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)


def double(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 2 * (output - target).flatten()


def unknown(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).flatten()


@pytest.fixture
def estimator() -> TorchEstimator:
    register(double)
    return TorchEstimator(epochs=2)


NETWORK = nn.Sequential(nn.Linear(1, 2), nn.ReLU())


@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplitModel])
def test_a_search_over_what_is_no_json_is_saved_and_loaded(
    spark: SparkSession, estimator: TorchEstimator, tmp_path: Path, kind: Any
) -> None:
    grid = ParamGridBuilder().addGrid(estimator.module, ["mlp", Line, NETWORK]).build()
    given: dict[str, Any] = {"estimator": Pipeline(stages=[estimator]), "estimatorParamMaps": grid}
    search: Any = CrossValidator(**given, evaluator=RegressionEvaluator())
    if kind is TrainValidationSplitModel:
        split = TrainValidationSplit(**given, evaluator=RegressionEvaluator())
        search = split._copyValues(TrainValidationSplitModel(PipelineModel([]), [1.0] * 3))
    search.save(str(tmp_path / "search"))

    loaded = kind.load(str(tmp_path / "search"))
    again = loaded.getEstimator().getStages()[0]
    tried = [again.copy(values).getModule() for values in loaded.getEstimatorParamMaps()]
    assert tried[:2] == ["mlp", Line]
    assert torch.equal(tried[2][0].weight, NETWORK[0].weight)


def test_every_kind_of_value_comes_back(spark: SparkSession, estimator: TorchEstimator, tmp_path: Path) -> None:
    builder = ParamGridBuilder().addGrid(estimator.loss, [double]).addGrid(estimator.optimizer, [torch.optim.SGD])
    (values,) = builder.addGrid(estimator.callbacks, [[EMA(0.5)]]).build()
    for param, value in values.items():
        value.save(str(tmp_path / param.name))
    loaded = estimator.copy({param: GridValue.load(str(tmp_path / param.name)) for param in values})
    assert (loaded.getLoss(), loaded.getOptimizer()) == (double, torch.optim.SGD)
    assert loaded.getCallbacks()[0].decay == 0.5


def test_a_stage_holds_the_value_itself(estimator: TorchEstimator) -> None:
    (values,) = ParamGridBuilder().addGrid(estimator.module, [Line]).addGrid(estimator.epochs, [3]).build()

    assert (repr(values[estimator.module]), values[estimator.epochs]) == (f"{__name__}.Line", 3)
    assert estimator.copy(values).extractParamMap()[estimator.module] is Line
    assert estimator.copy({estimator.module: Line}).getModule() is Line
    with pytest.raises(SettingError, match="invalid epochs=0"):
        ParamGridBuilder().addGrid(estimator.epochs, [0]).build()


def test_a_value_that_could_not_be_loaded(spark: SparkSession, estimator: TorchEstimator, tmp_path: Path) -> None:
    (values,) = ParamGridBuilder().addGrid(estimator.loss, [lambda output, target: output - target]).build()
    with pytest.raises(PersistenceError, match="loss cannot be saved: .*lambda"):
        values[estimator.loss].save(str(tmp_path / "lambda"))

    (values,) = ParamGridBuilder().addGrid(estimator.loss, [unknown]).build()
    values[estimator.loss].save(str(tmp_path / "function"))
    with pytest.raises(PersistenceError, match="loss refers to the function .*unknown: call sparkdl.register"):
        GridValue.load(str(tmp_path / "function"))
    assert GridValue.load(str(tmp_path / "function"), trusted=True).value is unknown
