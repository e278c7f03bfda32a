"""What TorchEstimator decides without a cluster, and the contract of every estimator as a Spark ML stage."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cloudpickle
import pytest
import torch
from pyspark.ml import Estimator
from pyspark.ml.tuning import ParamGridBuilder

import sparkdl
from sparkdl import TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.errors import SettingError
from sparkdl.estimators.base import TrainingStage
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig

X = Field("x", INPUT, ARRAY, ("x",), "float32", (3,))
NUMBER = Field("y", LABEL, SCALAR, ("y",), "float32", (1,))
LIST = Field("y", LABEL, ARRAY, ("y",), "float32", (2, 3))

STAGES: list[type[TrainingStage[Any]]] = [TorchEstimator, TorchClassifier, TorchRegressor]


@pytest.mark.parametrize("cls", STAGES)
def test_a_stage_is_sparks_and_public(cls: type[TrainingStage[Any]]) -> None:
    stage = cls(module="mlp", epochs=3)

    assert isinstance(stage, Estimator)
    assert f"{cls.__module__}.{cls.__qualname__}" == f"sparkdl.{cls.__name__}"
    assert getattr(sparkdl, cls.__name__) is cls
    assert stage.uid.startswith(cls.__name__)
    assert "epochs: passes over the rows (default: 1, current: 3)" in stage.explainParams()


@pytest.mark.parametrize("cls", STAGES)
def test_modules_and_functions_survive_copies(cls: type[TrainingStage[Any]]) -> None:
    network = torch.nn.Linear(2, 1)
    stage = cls(module=network, loss=max)
    grid = ParamGridBuilder().addGrid(stage.module, [network, "mlp"]).addGrid(stage.epochs, [1, 2]).build()
    copies = [stage.copy(each) for each in grid]

    assert [each.getModule() for each in copies] == [network, network, "mlp", "mlp"]
    assert [each.getEpochs() for each in copies] == [1, 2, 1, 2]
    assert all(each.uid == stage.uid and each.getLoss() is max for each in copies)
    assert stage.getEpochs() == 1
    loaded = cloudpickle.loads(cloudpickle.dumps(stage))
    assert torch.equal(loaded.getModule().weight, network.weight)


def test_the_package_stays_light() -> None:
    program = (
        "import sys, sparkdl; heavy = {'torch', 'horovod', 'petastorm', 'mlflow', 'matplotlib', 'pyspark'}; "
        "print(sorted(heavy & set(sys.modules))); from sparkdl import TorchClassifier; "
        "print(sorted({'horovod', 'petastorm', 'mlflow', 'matplotlib', 'torchmetrics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)

    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_the_size_of_a_network_by_name() -> None:
    stage = TorchEstimator()

    assert stage._output_size(TrainConfig(), DataSchema((X, NUMBER))) == 1
    assert stage._output_size(TrainConfig(), DataSchema((X, LIST))) == 6
    assert stage._output_size(TrainConfig(losses=("cross_entropy",)), DataSchema((X, NUMBER))) is None
    assert stage._output_size(TrainConfig(losses=("mse", "mse")), DataSchema((X, NUMBER, NUMBER))) is None


def test_outputs_and_their_columns_agree() -> None:
    schema = DataSchema((X, NUMBER, NUMBER))
    config = TrainConfig(losses=("mse", "mse"))

    assert TorchEstimator(outputCols=["a", ""])._fitting(config, schema, ((1,), (1,))) == config
    with pytest.raises(SettingError, match="the network has 2 outputs and predictionCol names one column"):
        TorchEstimator()._fitting(config, schema, ((1,), (1,)))
    with pytest.raises(SettingError, match="outputCols has 1 names for 2 outputs"):
        TorchEstimator(outputCols=["a"])._fitting(config, schema, ((1,), (1,)))
