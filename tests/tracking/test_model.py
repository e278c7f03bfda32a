"""A model in an MLflow run: what loads it, and where."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from torch import nn

from sparkdl import TorchModel
from sparkdl.network import resolve
from sparkdl.schema import INPUT, SCALAR, VECTOR, DataSchema, Field
from sparkdl.tracking.mlflow import open_tracking

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = DataSchema(
    (
        Field("a.b", INPUT, VECTOR, ("a.b",), "float32", (3,)),
        Field("n", INPUT, SCALAR, ("n",), "float32", (1,)),
    )
)


class OwnNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, *inputs):  # type: ignore[no-untyped-def]
        import torch

        return self.layer(torch.cat(inputs, 1))


def model_of(module: object, **params: object) -> TorchModel:
    network = resolve(module, params, SCHEMA, outputs=2)
    history = [{"epoch": e, "loss": 1 / e, "val_loss": 2 / e} for e in (1, 2)]
    model = TorchModel._create(network.module, network.reference, SCHEMA, [(2,)], history)
    return model.setInputCols(["a.b", "n"])


@pytest.fixture
def rows(spark: SparkSession):  # type: ignore[no-untyped-def]
    data = [(Vectors.dense([0.1 * i, 1.0, -1.0]), float(i)) for i in range(8)]
    return spark.createDataFrame([*data, (None, 0.0)], ["a.b", "n"])


def log(model: TorchModel, rows: object) -> tuple[str, str]:
    tracking = open_tracking("true", {})
    assert tracking is not None
    tracking.log_model(model, rows)  # type: ignore[arg-type]
    tracking.close()
    (output,) = mlflow.get_run(tracking.run_id).outputs.model_outputs
    return tracking.run_id, f"models:/{output.model_id}"


def test_both_flavors_predict_as_the_model_does(spark: SparkSession, rows, store: str) -> None:  # type: ignore[no-untyped-def]
    model = model_of("mlp", hidden=[5])
    run_id, uri = log(model, rows)
    whole = rows.filter("`a.b` is not null")
    expected = np.array([row.prediction for row in model.transform(whole).collect()])

    stage = mlflow.spark.load_model(uri)
    by_spark = [row.prediction for row in stage.transform(whole).collect()]
    np.testing.assert_allclose(by_spark, expected, rtol=1e-6)

    function = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    table = pd.DataFrame({"a.b": [row["a.b"].toArray() for row in whole.collect()], "n": np.arange(8.0)})
    np.testing.assert_allclose(function.predict(table)["prediction"].tolist(), expected, rtol=1e-5)

    assert [a.path for a in mlflow.MlflowClient().list_artifacts(run_id)] == ["history.png"]
    signature = function.metadata.signature
    assert signature.inputs.input_names() == ["a.b", "n"]
    assert signature.outputs.input_names() == ["prediction"]
    example = function.input_example
    assert len(example) == 5
    np.testing.assert_allclose(function.predict(example)["prediction"].tolist(), expected[:5], rtol=1e-5)


def test_pyfunc_needs_neither_spark_nor_java_in_another_process(rows, store: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = model_of("mlp", hidden=[5])
    _, uri = log(model, rows)
    folder = shutil.move(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "copy")), tmp_path / "m")
    program = (
        "import json, sys, mlflow.pyfunc\n"
        "function = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(function.predict(function.input_example).to_dict('list')))\n"
        "from pyspark import SparkContext\n"
        "assert SparkContext._active_spark_context is None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": "", "JAVA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [list(row.prediction) for row in model.transform(rows.filter("`a.b` is not null")).limit(5).collect()]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1])["prediction"], expected, rtol=1e-5)


def test_a_network_of_the_user_s_own(rows, store: str) -> None:  # type: ignore[no-untyped-def]
    model = model_of(OwnNetwork)
    _, uri = log(model, rows)
    function = mlflow.pyfunc.load_model(uri)
    expected = [list(row.prediction) for row in model.transform(rows.filter("`a.b` is not null")).limit(5).collect()]
    np.testing.assert_allclose(function.predict(function.input_example)["prediction"].tolist(), expected, rtol=1e-5)


def test_rows_of_pandas_are_an_example_too(store: str) -> None:
    table = pd.DataFrame({"a.b": [[1.0, 2.0, 3.0]] * 7, "n": np.arange(7.0), "label": 0.0})
    _, uri = log(model_of("mlp"), table)
    assert list(mlflow.pyfunc.load_model(uri).input_example.columns) == ["a.b", "n"]


def test_rows_that_are_all_null_leave_the_example_out(spark: SparkSession, store: str, rows) -> None:  # type: ignore[no-untyped-def]
    _, uri = log(model_of("mlp"), rows.filter("`a.b` is null"))
    assert mlflow.pyfunc.load_model(uri).metadata.signature is None


def test_what_cannot_be_logged_is_a_warning(store: str, rows) -> None:  # type: ignore[no-untyped-def]
    tracking = open_tracking("true", {})
    assert tracking is not None
    with pytest.warns(UserWarning, match=r"goes without the model: .*`n` cannot be resolved"):
        tracking.log_model(model_of("mlp"), rows.drop("n"))
    tracking.close()
    assert mlflow.get_run(tracking.run_id).info.status == "FINISHED"
