"""Real fits with MLflow in use: who owns the runs, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from torch import nn

from sparkdl import TorchEstimator, TorchRegressor
from sparkdl.errors import RankError


@pytest.fixture
def rows(spark: SparkSession) -> DataFrame:
    numbers = np.random.default_rng(0).normal(size=(120, 3))
    data = [([float(x) for x in row], float(row.sum())) for row in numbers]
    return spark.createDataFrame(data, "features array<double>, label double")


def children(parent: Run) -> list[Run]:
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return list(mlflow.search_runs(filter_string=condition, output_format="list"))


def test_fits_of_a_cross_validation_in_threads_are_children_of_the_active_run(rows: DataFrame, store: str) -> None:
    regressor = TorchRegressor(module="mlp", epochs=2, batchSize=40, verbose=0, storageOptions={"secret": "hunter2"})
    search = CrossValidator(
        estimator=regressor,
        estimatorParamMaps=ParamGridBuilder().addGrid(regressor.learningRate, [0.01]).build(),
        evaluator=RegressionEvaluator(),
        numFolds=2,
        parallelism=2,
        seed=1,
    )
    with mlflow.start_run() as parent:
        best = search.fit(rows).bestModel
    runs = children(parent)
    assert len(runs) == 3, "two folds, and the fit of all rows"
    client = mlflow.MlflowClient()
    last = []
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["learningRate"] == "0.01"
        assert "storageOptions" not in run.data.params
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [metric.step for metric in history] == [1, 2]
        last.append(history[-1].value)
        assert [artifact.path for artifact in client.list_artifacts(run.info.run_id)] == ["history.png"]
        assert len(run.outputs.model_outputs) == 1
    assert any(best.history[-1]["loss"] == pytest.approx(loss) for loss in last)
    assert client.get_run(parent.info.run_id).data.metrics == {}, "the user's own run is left alone"


@pytest.fixture
def autologging(store: str) -> Iterator[None]:
    mlflow.pyspark.ml.autolog(silent=True, log_datasets=False)
    yield
    mlflow.pyspark.ml.autolog(disable=True, silent=True)


def test_a_fit_that_mlflow_logs_itself_is_one_run_without_secrets(
    rows: DataFrame, store: str, autologging: None
) -> None:
    regressor = TorchRegressor(
        module="mlp",
        epochs=2,
        batchSize=40,
        verbose=0,
        metrics=["mae", lambda output, target: (output - target).abs().mean()],
        storageOptions={"key": "AKIAKEY", "secret": "hunter2"},
        feed="direct",
    )
    model = regressor.fit(rows)
    (run,) = mlflow.search_runs(output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.autologging"] == "pyspark.ml"
    assert run.data.params["storageOptions"] == "***"
    assert run.data.params["epochs"] == "2"
    assert run.data.metrics["loss"] == pytest.approx(model.history[-1]["loss"])
    assert {"mae", "lambda"} <= set(run.data.metrics)
    assert len(run.outputs.model_outputs) == 1
    database = Path(store.removeprefix("sqlite:///")).read_bytes()
    assert b"hunter2" not in database
    assert b"AKIAKEY" not in database


class Fails(nn.Linear):
    def forward(self, features):  # type: ignore[no-untyped-def]
        if len(features) > 2 and self.training:
            raise ValueError("the sensor is broken")
        return super().forward(features)


def test_a_fit_whose_rank_fails_ends_its_run_with_the_sentence(rows: DataFrame, store: str) -> None:
    estimator = TorchEstimator(
        module=Fails, moduleParams={"in_features": 3, "out_features": 1}, mlflow="true", verbose=0
    )
    with pytest.raises(RankError, match="the sensor is broken"):
        estimator.fit(rows)
    (run,) = mlflow.search_runs(output_format="list")
    assert run.info.status == "FAILED"
    assert "the sensor is broken" in run.data.tags["sparkdl.error"]
    assert run.outputs.model_outputs == []
