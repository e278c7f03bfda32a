"""Estimators as stages: Pipeline, tuning, OneVsRest, labels with metadata, and rows that several fits share."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import OneVsRest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer, VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import DataFrame, SparkSession

from sparkdl import SparkDLError, TorchClassificationModel, TorchClassifier, TorchRegressor
from sparkdl.fitting import shared_dataset as shared_rows
from sparkdl.train import Callback, TrainState

ROWS = 300


class Fails(Callback):
    def on_train_begin(self, state: TrainState) -> None:
        raise ValueError("told to fail")


@pytest.fixture(scope="module")
def corners(spark: SparkSession) -> DataFrame:
    """Points near three corners, named; `label` is the corner's number and `y` a number to learn."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    rows = []
    for i in range(ROWS):
        a, b = centres[i % 3] + rng.normal(0, 0.3, 2)
        rows.append((float(a), float(b), ["low", "right", "up"][i % 3], float(i % 3), float(a - b)))
    frame = spark.createDataFrame(rows, "a double, b double, name string, label double, y double").repartition(2)
    frame = VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame).cache()
    assert frame.count() == ROWS
    return frame


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place of temporary files for all tests, or each would start a server of its own to fork ranks from."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture
def places(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which this process makes its temporary ones."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def folders(places: Path) -> set[str]:
    """Names of the folders with rows; the address of the server that forks ranks is none."""
    return {path.name for path in places.glob("sparkdl*") if not path.name.startswith("sparkdl-prefork-")}


@pytest.fixture
def writings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one whenever rows are really written."""
    seen: list[Any] = []
    write = shared_rows._Written._write

    def counted(self: Any, *given: Any) -> Any:
        seen.append(self.wanted)
        return write(self, *given)

    monkeypatch.setattr(shared_rows._Written, "_write", counted)
    return seen


def classifier(**settings: Any) -> TorchClassifier:
    common: dict[str, Any] = {
        "module": "mlp",
        "moduleParams": {"hidden": [8]},
        "batchSize": 50,
        "learningRate": 0.05,
        "epochs": 4,
        "verbose": 0,
        "metrics": [],
    }
    return TorchClassifier(**{**common, **settings})


def test_a_pipeline_learns_is_saved_and_names_what_it_predicts(corners: DataFrame, tmp_path: Path) -> None:
    frame = corners.select("a", "b", "name")
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=["a", "b"], outputCol="features"),
            StringIndexer(inputCol="name", outputCol="label", stringOrderType="alphabetAsc"),
            classifier(numProcs=2),
            IndexToString(inputCol="prediction", outputCol="guess"),
        ]
    )
    model = pipeline.fit(frame)
    model.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    scored = loaded.transform(frame)

    assert scored.filter("guess = name").count() > 0.97 * ROWS
    assert MulticlassClassificationEvaluator(metricName="f1").evaluate(scored) > 0.97
    assert isinstance(loaded.stages[2], TorchClassificationModel)
    assert loaded.stages[2].numClasses == 3
    assert loaded.stages[2].uid == pipeline.getStages()[2].uid  # type: ignore[index]
    assert list(loaded.stages[2].history) == list(model.stages[2].history)  # type: ignore[attr-defined]


def test_the_fits_of_a_search_say_which_they_are(corners: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    stage = classifier(backend="local", epochs=1, verbose=2)
    grid = ParamGridBuilder().addGrid(stage.learningRate, [0.05, 0.1]).build()
    search = CrossValidator(
        estimator=stage, estimatorParamMaps=grid, evaluator=MulticlassClassificationEvaluator(), numFolds=2
    )
    search.fit(corners)
    alone = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fold")]
    search.setEstimator(Pipeline(stages=[stage])).setEstimatorParamMaps(grid[:1]).fit(corners)
    in_a_pipeline = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fold")]

    assert alone == [
        f"fold {fold} of 2, fit {number} of 2 (learningRate={rate})"
        for fold in (1, 2)
        for number, rate in ((1, 0.05), (2, 0.1))
    ]
    assert in_a_pipeline == [f"fold {fold} of 2 (learningRate=0.05)" for fold in (1, 2)]


def test_a_saved_estimator_fits_as_before(corners: DataFrame, tmp_path: Path) -> None:
    path = str(tmp_path / "estimator")
    stage = classifier(seed=5, epochs=1)
    stage.save(path)
    first = stage.fit(corners)
    second = TorchClassifier.load(path).fit(corners)

    assert first.history[0]["loss"] == pytest.approx(second.history[0]["loss"], abs=1e-6)
    promised, scored = stage.transformSchema(corners.schema), second.transform(corners).schema
    assert [(f.name, f.dataType) for f in promised] == [(f.name, f.dataType) for f in scored]


def test_cross_validation_in_two_threads(corners: DataFrame, places: Path, writings: list[Any]) -> None:
    stage = classifier(epochs=2)
    grid = (
        ParamGridBuilder()
        .addGrid(stage.learningRate, [1e-6, 0.05])
        .addGrid(stage.moduleParams, [{"hidden": [2]}, {"hidden": [16]}])
        .build()
    )
    validator = CrossValidator(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(metricName="accuracy"),
        numFolds=2,
        seed=1,
        parallelism=2,
        collectSubModels=True,
    )
    tuned = validator.fit(corners)
    of_fold = tuned.subModels[0]
    figures = [of_fold[i].network.state_dict()["layers.0.weight"].shape[0] for i in range(4)]

    assert sorted(figures) == [2, 2, 16, 16]
    assert max(tuned.avgMetrics) > 0.9
    assert tuned.bestModel.history[0]["lr"] == 0.05  # type: ignore[attr-defined]
    assert len(writings) == 3, "one writing for each fold, one for the best model"
    assert folders(places) == set()
    again = validator.fit(corners)
    assert again.avgMetrics == pytest.approx(tuned.avgMetrics, abs=1e-9), "two threads draw the same weights"


def test_train_validation_split(corners: DataFrame) -> None:
    stage = TorchRegressor(
        module="mlp", moduleParams={"hidden": []}, labelCol="y", learningRate=0.1, batchSize=30, epochs=4, verbose=0
    )
    grid = ParamGridBuilder().addGrid(stage.optimizer, ["adam", "sgd"]).addGrid(stage.epochs, [1, 6]).build()
    split = TrainValidationSplit(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=RegressionEvaluator(labelCol="y", metricName="rmse"),
        seed=1,
        parallelism=2,
    )
    tuned = split.fit(corners)

    assert min(tuned.validationMetrics) < 0.2
    assert len({round(metric, 6) for metric in tuned.validationMetrics}) == 4
    assert len(tuned.bestModel.history) in (1, 6)  # type: ignore[attr-defined]


def test_rows_are_written_once_for_models_that_agree(corners: DataFrame, places: Path, writings: list[Any]) -> None:
    stage = classifier(epochs=1)
    maps: list[Any] = [
        {stage.learningRate: 0.1},
        {stage.epochs: 2},
        {stage.validationFraction: 0.5},
        {stage.batchSize: 20},
    ]
    seen = {}
    models = stage.fitMultiple(corners, maps)
    for index, model in models:
        seen[index] = model
        assert len(folders(places)) == (1 if index < 3 else 0)

    assert sorted(seen) == [0, 1, 2, 3]
    assert len(writings) == 2
    assert [len(seen[i].history) for i in range(4)] == [1, 2, 1, 1]
    assert "val_loss" in seen[2].history[0]
    assert folders(places) == set()


def test_rows_are_gone_when_a_fit_fails_or_the_iterator_is_dropped(corners: DataFrame, places: Path) -> None:
    stage = classifier(epochs=1)
    maps: list[Any] = [{stage.moduleParams: {"hidden": [4]}}, {stage.callbacks: [Fails()]}, {}]
    models = stage.fitMultiple(corners, maps)
    next(models)
    assert len(folders(places)) == 1
    with pytest.raises(SparkDLError, match="told to fail"):
        next(models)
    assert folders(places) == set()
    assert next(models)[0] == 2, "the fits after one that failed go on"
    assert folders(places) == set()

    models = stage.fitMultiple(corners, [{}, {}])
    next(models)
    assert len(folders(places)) == 1
    del models
    gc.collect()
    assert folders(places) == set()


def test_one_vs_rest(corners: DataFrame) -> None:
    model = OneVsRest(classifier=classifier(epochs=5), parallelism=1).fit(corners.select("features", "label"))
    scored = model.transform(corners.select("features", "label"))

    assert scored.filter("prediction = label").count() > 0.95 * ROWS
