"""Models from folders and from MLflow, without a Spark session."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import torch
from pyspark import SparkContext
from torch import nn

import sparkdl
from sparkdl.errors import PersistenceError
from sparkdl.estimators.model import TorchModel
from sparkdl.network import resolve
from sparkdl.persistence import write_stage
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field
from sparkdl.tracking.directory import write_pipeline

SCHEMA = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (3,)),))


@pytest.fixture(scope="module")
def model() -> TorchModel:
    network = resolve(nn.Linear(3, 2), {}, SCHEMA, None)
    return TorchModel._create(network.module, network.reference, SCHEMA, [(2,)]).setFeaturesCol("x")


def test_a_model_of_a_folder(model: TorchModel, tmp_path: Path) -> None:
    running = SparkContext._active_spark_context
    (tmp_path / "stage").mkdir()
    write_stage(model, tmp_path / "stage")
    write_pipeline(model, tmp_path / "logged" / "data" / "sparkml")
    places = (tmp_path / "stage", (tmp_path / "stage").as_uri(), str(tmp_path / "logged" / "data" / "sparkml"))
    for place in (*places, tmp_path / "logged"):
        loaded = sparkdl.load_model(place)
        assert isinstance(loaded, TorchModel)
        assert (loaded.uid, loaded.getFeaturesCol()) == (model.uid, "x")
        assert torch.equal(loaded.network.weight, model.network.weight)  # type: ignore[arg-type]
    assert SparkContext._active_spark_context is running


def test_what_is_no_model(model: TorchModel, tmp_path: Path) -> None:
    with pytest.raises(PersistenceError, match="there is no saved model of sparkdl's"):
        sparkdl.load_model(tmp_path)
    with pytest.raises(PersistenceError, match=r"s3://\*\*\*@bucket/m is no folder of this machine: .* with Spark"):
        sparkdl.load_model("s3://key:secret@bucket/m")
    write_pipeline(model, tmp_path / "two")
    (tmp_path / "two" / "stages" / "1_other").mkdir()
    with pytest.raises(PersistenceError, match="two is a pipeline of 2 stages, a model alone is wanted"):
        sparkdl.load_model(tmp_path / "two")
    (tmp_path / "stage").mkdir()
    write_stage(sparkdl.TorchEstimator(), tmp_path / "stage")
    with pytest.raises(PersistenceError, match="stage: there is a .*TorchEstimator, which is no model"):
        sparkdl.load_model(tmp_path / "stage")


def test_a_model_of_a_registry(model: TorchModel, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        folder = write_pipeline(model, tmp_path / "logged" / "data" / "sparkml").parents[1]
        mlflow.models.Model(artifact_path="model").save(str(folder / "MLmodel"))
        client = mlflow.MlflowClient()
        client.create_registered_model("net")
        client.create_model_version("net", folder.as_uri())
        client.set_registered_model_alias("net", "best", "1")
        loaded = sparkdl.load_model("models:/net@best")
        assert torch.equal(loaded.network.weight, model.network.weight)  # type: ignore[arg-type]
        with pytest.raises(PersistenceError, match="models:/none/1 cannot be had from MLflow: "):
            sparkdl.load_model("models:/none/1")
    finally:
        # Not what it was: a place that is named is one in use, and later fits would be tracked there.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
