"""Stages and pipelines that one language has saved, in the other: the same predictions to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import OneVsRest, OneVsRestModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.tuning import (
    CrossValidator,
    CrossValidatorModel,
    ParamGridBuilder,
    TrainValidationSplit,
    TrainValidationSplitModel,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchClassificationModel, TorchClassifier, TorchRegressor

NAMES = ["a", "b", "c"]


@pytest.fixture
def rows(bridge: SparkSession) -> DataFrame:
    """Rows of three classes."""
    shift = F.col("id") % 3
    numbers = [(F.sin(F.col("id") * (i + 1)) + shift * i).alias(name) for i, name in enumerate(NAMES)]
    return bridge.range(0, 90, 1, 2).select("id", shift.cast("double").alias("label"), *numbers)


def before() -> list[Any]:
    return [
        VectorAssembler(inputCols=NAMES, outputCol="raw"),
        StandardScaler(inputCol="raw", outputCol="features"),
    ]


def classifier() -> TorchClassifier:
    return TorchClassifier(module="mlp", epochs=3, batchSize=16, learningRate=0.02, verbose=0)


def values(scored: DataFrame) -> list[Any]:
    names = [name for name in ("rawPrediction", "probability", "prediction") if name in scored.columns]
    return scored.orderBy("id").select(*names).collect()


def in_jvm(spark: SparkSession, path: Path) -> Any:
    jvm: Any = spark._jvm
    return jvm.sparkdl.SparkDL.load(str(path))


def transformed(spark: SparkSession, model: Any, rows: DataFrame) -> list[Any]:
    return values(DataFrame(model.transform(rows._jdf), spark))


def test_pipelines_within_pipelines_of_python_in_the_jvm(bridge: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    model = Pipeline(stages=[Pipeline(stages=before()), classifier()]).fit(rows)
    model.save(str(tmp_path / "model"))
    expected = values(model.transform(rows))
    loaded = in_jvm(bridge, tmp_path / "model")
    assert transformed(bridge, loaded, rows) == expected
    # Saved again by the JVM, and back here.
    loaded.write().save(str(tmp_path / "again"))
    assert values(PipelineModel.load(str(tmp_path / "again")).transform(rows)) == expected


def test_pipelines_of_the_jvm_in_python(bridge: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    Pipeline(stages=[*before(), classifier()]).save(str(tmp_path / "stages"))
    model = in_jvm(bridge, tmp_path / "stages").fit(rows._jdf)
    expected = transformed(bridge, model, rows)
    model.write().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert isinstance(loaded.stages[-1], TorchClassificationModel)
    assert len(loaded.stages[-1].history) == 3
    assert values(loaded.transform(rows)) == expected
    # The JVM's fit is Python's.
    assert values(Pipeline(stages=[*before(), classifier()]).fit(rows).transform(rows)) == expected


@pytest.mark.parametrize("split", [False, True])
def test_searches(bridge: SparkSession, rows: DataFrame, tmp_path: Path, split: bool) -> None:
    stage = classifier()
    shared: dict[str, Any] = {
        "estimator": Pipeline(stages=[*before(), stage]),
        "evaluator": MulticlassClassificationEvaluator(metricName="accuracy"),
        "estimatorParamMaps": ParamGridBuilder().addGrid(stage.learningRate, [0.001, 0.02]).build(),
        "seed": 1,
    }
    search: Any = TrainValidationSplit(**shared) if split else CrossValidator(**shared, numFolds=2)
    model = search.fit(rows)
    model.save(str(tmp_path / "model"))
    expected = values(model.transform(rows))
    loaded = in_jvm(bridge, tmp_path / "model")
    assert transformed(bridge, loaded, rows) == expected
    assert [len(map.toList()) for map in loaded.getEstimatorParamMaps()] == [1, 1]
    measured = loaded.validationMetrics() if split else loaded.avgMetrics()
    assert list(measured) == pytest.approx(model.validationMetrics if split else model.avgMetrics)
    loaded.write().save(str(tmp_path / "again"))
    back: Any = (TrainValidationSplitModel if split else CrossValidatorModel).load(str(tmp_path / "again"))
    assert values(back.transform(rows)) == expected
    search.save(str(tmp_path / "search"))
    assert in_jvm(bridge, tmp_path / "search").getEstimator().uid() == search.getEstimator().uid


def test_one_against_the_rest(bridge: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    prepared = Pipeline(stages=before()).fit(rows).transform(rows).cache()
    model = OneVsRest(classifier=classifier()).fit(prepared)
    model.write().save(str(tmp_path / "model"))
    expected = values(model.transform(prepared))
    loaded = in_jvm(bridge, tmp_path / "model")
    assert [row["prediction"] for row in transformed(bridge, loaded, prepared)] == [
        row["prediction"] for row in expected
    ]
    loaded.write().save(str(tmp_path / "again"))
    back = OneVsRestModel.load(str(tmp_path / "again"))
    assert [row["prediction"] for row in values(back.transform(prepared))] == [row["prediction"] for row in expected]


def test_an_estimator_with_every_kind_of_value(bridge: SparkSession, tmp_path: Path) -> None:
    estimator = TorchRegressor(
        module="mlp",
        moduleParams={"hidden": [8, 4]},
        featuresCols=NAMES,
        optimizer="sgd",
        optimizerParams={"momentum": 0.9},
        metrics=["r2", "mae"],
        gradientClipNorm=1.5,
        compile={"mode": "max-autotune", "dynamic": False},
        matmulPrecision="high",
        shuffle=False,
        seed=7,
        storageOptions={"key": "secret"},
    )
    estimator.save(str(tmp_path / "estimator"))
    loaded = in_jvm(bridge, tmp_path / "estimator")
    assert "secret" not in loaded.explainParams()
    loaded.write().save(str(tmp_path / "again"))
    back = TorchRegressor.load(str(tmp_path / "again"))
    for param in estimator.params:
        if estimator.isSet(param) and param.name != "storageOptions":
            assert back.getOrDefault(param.name) == estimator.getOrDefault(param), param.name
    assert not back.getStorageOptions()
