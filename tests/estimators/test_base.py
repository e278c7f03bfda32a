"""What TorchEstimator decides without a cluster, and the contract of every estimator as a Spark ML stage."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cloudpickle
import pytest
import torch
from pyspark.ml import Estimator
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.sql.types import DataType, DoubleType, LongType, StructField, StructType
from torch import nn

import sparkdl
from sparkdl import TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.errors import DataError, NetworkError, SettingError, SparkDLError
from sparkdl.estimators.base import TrainingStage
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig

X = Field("x", INPUT, ARRAY, ("x",), "float32", (3,))
NUMBER = Field("y", LABEL, SCALAR, ("y",), "float32", (1,))
LIST = Field("y", LABEL, ARRAY, ("y",), "float32", (2, 3))


def mean(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).abs().mean()


def ints(*names: str) -> StructType:
    return StructType([StructField(name, LongType()) for name in names])


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x), self.layer(x)


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


def test_outputs_and_labels_agree() -> None:
    schema = DataSchema((X, NUMBER, NUMBER))
    config = TrainConfig(losses=("mse", "mse"))

    assert TorchEstimator(outputCols=["a", ""])._fitting(config, schema, ((1,), (1,))) == config
    with pytest.raises(NetworkError, match="the network returns 1 outputs for 2 labels: let it return one for each"):
        TorchEstimator()._fitting(config, schema, ((1,),))


def vector(name: str, size: int | None = None) -> StructField:
    return StructField(name, VectorUDT(), metadata=None if size is None else {"ml_attr": {"num_attrs": size}})


def columns(*vectors: StructField, label: DataType | None = None, **metadata: Any) -> StructType:
    return StructType([*vectors, StructField("label", label or DoubleType(), metadata=metadata)])


NOMINAL = {"type": "nominal", "vals": ["a", "b", "c"]}
FOUR, UNKNOWN = columns(vector("features", 4)), columns(vector("features"))

REFUSED: list[tuple[TrainingStage[Any], StructType, type[SparkDLError], str]] = [
    (
        TorchRegressor(module=nn.Linear(5, 1)),
        FOUR,
        NetworkError,
        r"Linear does not take its input features \(rows, 4\).*\(by its metadata, column 'features' has 4 numbers",
    ),
    (TorchRegressor(module=lambda: nn.Linear(5, 1)), FOUR, NetworkError, "has 4 numbers a row"),
    (
        TorchRegressor(module="mlp", moduleParams={"inputs": 5}),
        FOUR,
        NetworkError,
        r"moduleParams\['inputs'\]=5 does not fit rows of 4 numbers: leave it out \(by its metadata",
    ),
    (
        TorchRegressor(module=nn.Linear(4, 2)),
        FOUR,
        NetworkError,
        r"returns \(2,\) for a row, and TorchRegressor predicts",
    ),
    (
        TorchRegressor(module=nn.Linear),
        UNKNOWN,
        SettingError,
        "moduleParams lacks 'in_features': Linear cannot be called",
    ),
    (TorchRegressor(module="mlp", moduleParams={"activation": "rely"}), UNKNOWN, NetworkError, "did you mean 'relu'"),
    (TorchRegressor(module=nn.ReLU()), UNKNOWN, NetworkError, "the network has no parameter to train"),
    (
        TorchRegressor(module=nn.Linear(4, 1), optimizer=lambda parameters: None),
        UNKNOWN,
        SettingError,
        "returned NoneType: it must return a torch.optim.Optimizer",
    ),
    (
        TorchRegressor(module="mlp"),
        columns(vector("features"), label=VectorUDT(), ml_attr={"num_attrs": 2}),
        DataError,
        "2 nu",
    ),
    (TorchRegressor(module="mlp", loss="nll"), UNKNOWN, SettingError, "invalid loss='nll': it learns classes"),
    (
        TorchRegressor(module="mlp", loss=mean, weightCol="label"),
        UNKNOWN,
        SettingError,
        "weightCol and classWeights cannot",
    ),
    (
        TorchRegressor(module="mlp", fillValue=0.5, inputCols=["label"], labelCol="y"),
        ints("label", "y"),
        SettingError,
        "fillV",
    ),
    (TorchClassifier(module=nn.Linear(4, 2), numClasses=3), FOUR, NetworkError, "there are 3 classes: give its last"),
    (
        TorchClassifier(module=nn.Linear(4, 2)),
        columns(vector("features", 4), ml_attr=NOMINAL),
        NetworkError,
        "there are 3 classes: give its last layer 3 outputs",
    ),
    (
        TorchClassifier(module="mlp", classWeights=[1.0, 2.0]),
        columns(vector("features"), ml_attr=NOMINAL),
        SettingError,
        "classWeights has 2 entries for 3 classes",
    ),
    (TorchClassifier(module=nn.Linear(4, 5), thresholds=[0.5, 0.5]), FOUR, SettingError, "the network tells 5 classes"),
    (TorchClassifier(module=nn.Linear(4, 2), classWeights=[1.0] * 3), FOUR, NetworkError, "there are 3 classes"),
    (TorchClassifier(module=nn.LSTM(4, 2)), FOUR, NetworkError, "returns tuple, not a tensor"),
    (
        TorchClassifier(module=nn.Unflatten(1, (2, 2))),
        FOUR,
        NetworkError,
        r"returns \(2, 2\) for a row, and there are several",
    ),
    (TorchClassifier(module="mlp", loss="mse"), UNKNOWN, SettingError, "invalid loss='mse'.*take 'cross_entropy'"),
    (TorchClassifier(module="mlp"), columns(vector("features"), label=VectorUDT()), DataError, "'label' holds arrays"),
    (
        TorchClassifier(module="mlp", classWeights=[1.0, 2.0], lossParams={"weight": [1.0, 2.0]}),
        UNKNOWN,
        SettingError,
        r"classWeights and lossParams\['weight'\] say the same thing",
    ),
    (
        TorchEstimator(module=nn.Linear(4, 2)),
        FOUR,
        NetworkError,
        r"an output of \(2, 2\) does not fit a label of \(2, 1\)",
    ),
    (TorchEstimator(module="mlp", loss="cross_entropy"), UNKNOWN, NetworkError, r"give moduleParams\['outputs'\]"),
    (TorchEstimator(module=Two()), FOUR, NetworkError, "returns 2 outputs for 1 labels"),
    (
        TorchEstimator(module=nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1)), batchSize=3, numProcs=2),
        UNKNOWN,
        SettingError,
        "batchSize=3 gives a rank a single row",
    ),
]


@pytest.mark.parametrize(("stage", "schema", "kind", "sentence"), REFUSED)
def test_what_settings_columns_and_metadata_tell_is_refused_without_rows(
    stage: TrainingStage[Any], schema: StructType, kind: type[SparkDLError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as error:
        stage._foresee(schema, False)
    assert "\n" not in str(error.value)
    with pytest.raises(kind, match=sentence):
        stage.transformSchema(schema)


@pytest.mark.parametrize("schema", [FOUR, UNKNOWN, columns(vector("features", 4), ml_attr=NOMINAL)])
def test_what_only_the_rows_tell_is_left_to_them(schema: StructType) -> None:
    wide = nn.Linear(4, 3)
    stages: list[TrainingStage[Any]] = [
        TorchRegressor(module=nn.Linear(4, 1)),
        TorchRegressor(module=nn.LazyLinear(1)),
        TorchRegressor(module="mlp", moduleParams={"inputs": 4}),
        TorchEstimator(module=wide, loss="cross_entropy"),
        TorchClassifier(module=wide),
        TorchClassifier(module=wide, classWeights="balanced"),
        TorchClassifier(module=wide, thresholds=[0.1, 0.2, 0.7], classWeights=[1.0, 2.0, 3.0]),
        TorchClassifier(module="mlp"),
    ]
    for stage in stages:
        foreseen = stage._foresee(schema, False)
        assert foreseen.wanted.schema.fields[0].shape == (-1,)
        added = stage.transformSchema(schema).fields[len(schema.fields) :]
        assert "prediction" in [field.name for field in added]


def test_weights_of_a_wider_network_are_filled_up() -> None:
    stage = TorchClassifier(module=nn.Linear(4, 5), classWeights=[1.0, 2.0])
    assert stage._foresee(FOUR, False).outputs == ((5,),)


def test_metadata_give_the_type_of_the_outputs() -> None:
    pair = TorchEstimator(module=nn.Linear(4, 2), loss="cross_entropy")
    assert pair.transformSchema(FOUR)["prediction"].dataType.simpleString() == "array<float>"
