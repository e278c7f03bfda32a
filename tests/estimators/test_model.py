"""A trained network as a Spark ML model: columns, copies, saving and loading, streams, other processes."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from torch import nn

from sparkdl import TorchModel, trusted
from sparkdl.errors import NetworkError, PersistenceError, SettingError
from sparkdl.estimators.model import load_local
from sparkdl.network import check, resolve
from sparkdl.schema import ARRAY, INPUT, SCALAR, STACKED, TIMESTAMP, VECTOR, DataSchema, Field

ROOT = str(Path(__file__).resolve().parents[2])
HISTORY = [{"epoch": 1, "loss": 0.5, "val_loss": float("nan")}, {"epoch": 2, "loss": 0.25}]


def model_of(module: Any, *fields: Field, outputs: int | None = None, **extra: Any) -> TorchModel:
    schema = DataSchema(fields or (Field("features", INPUT, VECTOR, ("features",), "float32", (3,)),))
    made = resolve(module, {}, schema, outputs)
    shapes = check(made.module, schema)
    return TorchModel._create(made.module, made.reference, schema, shapes, HISTORY, **extra)


@pytest.fixture
def frame(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(i, Vectors.dense(i, 1.0, 2.0)) for i in range(4)], ["id", "features"])


def predicted(frame: DataFrame, column: str = "prediction") -> list[Any]:
    return [row[column] for row in sorted(frame.collect(), key=lambda row: row["id"])]


def test_columns_follow_params_and_copies_share_the_network(frame: DataFrame) -> None:
    model = model_of("mlp", outputs=1)
    renamed = model.copy({model.predictionCol: "score", model.outputLayers: {"layers.0": "hidden"}})
    out = renamed.transform(frame)
    assert out.dtypes[2:] == [("score", "double"), ("hidden", "array<float>")]
    assert renamed.network is model.network
    rows = torch.tensor([[i, 1.0, 2.0] for i in range(4)])
    with torch.no_grad():
        hidden = model.network.layers[0](rows)
        expected = model.network(rows)[:, 0]
    got = sorted(out.collect(), key=lambda row: row["id"])
    np.testing.assert_allclose([row["hidden"] for row in got], hidden, rtol=1e-5)
    np.testing.assert_allclose([row["score"] for row in got], expected, rtol=1e-5)
    other = frame.withColumnRenamed("features", "Features.2")
    np.testing.assert_allclose(predicted(model.setFeaturesCol("Features.2").transform(other)), expected, rtol=1e-5)
    assert model.numFeatures == 3
    assert model.history.toPandas()["loss"].tolist() == [0.5, 0.25]


def test_a_model_says_what_it_is() -> None:
    model = model_of("mlp", outputs=1)
    assert repr(model) == (f"TorchModel: uid={model.uid}, inputs=features[3], outputs=[1], parameters=321, device=auto")
    two = model_of(
        nn.Bilinear(3, 2, 4),
        Field("<a>", INPUT, VECTOR, ("<a>",), "float32", (3,)),
        Field("b", INPUT, STACKED, ("b", "c"), "float32", (2,)),
    ).setDevice("cpu")
    assert "inputs=<a>[3] + b[2], outputs=[4], parameters=28, device=cpu" in repr(two)
    shown = two._repr_html_()
    assert "&lt;a&gt;[3] + b[2]" in shown
    assert shown.count(">device<") == 1
    assert repr(TorchModel()).startswith("TorchModel_")
    assert "TorchModel_" in TorchModel()._repr_html_()


def test_the_epoch_of_the_weights_is_kept(tmp_path: Path) -> None:
    model = model_of("mlp", outputs=1, best_epoch=1)
    model.save(str(tmp_path / "model"))
    back = TorchModel.load(str(tmp_path / "model"))
    assert (model.history.best_epoch, back.history.best_epoch) == (1, 1)
    assert model_of("mlp", outputs=1).history.best_epoch is None


def test_weights_that_change_are_sent_again(frame: DataFrame) -> None:
    model = model_of(nn.Linear(3, 1))
    before = predicted(model.transform(frame))
    model.network.bias.data.add_(1)
    after = predicted(model.transform(frame))
    np.testing.assert_allclose(np.subtract(after, before), 1, rtol=1e-5)


def test_refusals(frame: DataFrame) -> None:
    model = model_of(nn.Linear(3, 2))
    with pytest.raises(SettingError, match="the network has 1 input, and columns for 2 are named"):
        model.copy({model.inputCols: ["id", "features"]}).transform(frame)
    with pytest.raises(NetworkError, match="outputLayers names 'head'"):
        model.copy({model.outputLayers: {"head": "x"}}).transform(frame)
    with pytest.raises(NetworkError, match="1 outputs, 2 columns are named"):
        model.copy({model.outputCols: ["a", "b"]}).transform(frame)
    with pytest.raises(SettingError, match="holds no network: make it by fit or by load"):
        TorchModel().transform(frame)


def test_saved_and_loaded(frame: DataFrame, tmp_path: Path) -> None:
    model = model_of("mlp", outputs=2, num_classes=2).setBatchSize(2).setPredictionCol("p")
    path = str(tmp_path / "a model")
    model.save(path)
    with pytest.raises(PersistenceError, match=r"a model exists already: use write\(\).overwrite\(\)"):
        model.save(path)
    model.write().overwrite().save(path)
    back = TorchModel.load(path)
    assert back.uid == model.uid
    assert back.extractParamMap() == {back.getParam(p.name): v for p, v in model.extractParamMap().items()}
    assert (back.isSet("batchSize"), back.isSet("device")) == (True, False)
    assert json.dumps(back.history) == json.dumps(model.history)
    assert back._trained is not None
    assert back._trained.extra == {"num_classes": 2}
    assert predicted(back.transform(frame), "p") == predicted(model.transform(frame), "p")
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again.network.layers[0].weight, model.network.layers[0].weight)
    assert copy.copy(back).network is back.network


def test_what_is_there_stays_if_saving_fails(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "model")
    model_of(nn.Linear(3, 1)).save(path)
    model = model_of(nn.Linear(3, 1))
    model.network.cannot = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(PersistenceError, match="the network cannot be saved: .* cannot be pickled"):
        model.write().overwrite().save(path)
    assert TorchModel.load(path).network.weight.shape == (1, 3)


def test_directories_that_hold_something_else(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "model"
    model_of(nn.Linear(3, 1)).save(str(path))
    with pytest.raises(PersistenceError, match="nowhere.*there is nothing to load"):
        TorchModel.load(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PersistenceError, match="there is no saved stage"):
        TorchModel.load(str(tmp_path / "empty"))
    part = path / "metadata" / "part-00000"
    saved = json.loads(part.read_text())
    for change, words in (
        (
            {"class": "sparkdl.TorchRegressionModel"},
            "holds a sparkdl.TorchRegressionModel, not a sparkdl.TorchModel: load",
        ),
        ({"formatVersion": 3, "sparkdlVersion": "7.0"}, "format version 3, .* load it with sparkdl 7.0"),
        ({"schema": "none"}, "its schema is damaged"),
        ({"paramMap": {"batchSize": -1}}, "batchSize=-1"),
    ):
        part.write_text(json.dumps({**saved, **change}))
        with pytest.raises((PersistenceError, SettingError), match=words):
            TorchModel.load(str(path))


def test_stream_of_files(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    model = model_of(nn.Linear(3, 2))
    source, sink = str(tmp_path / "in"), str(tmp_path / "out")
    frame.write.parquet(source)
    stream = model.transform(spark.readStream.schema(frame.schema).parquet(source))
    options = {"path": sink, "checkpointLocation": str(tmp_path / "checkpoint")}
    for _ in range(2):
        query = stream.writeStream.options(**options).trigger(availableNow=True).start()
        assert query.awaitTermination(120)
        frame.write.mode("append").parquet(source)
    batch = predicted(model.transform(frame))
    assert predicted(spark.read.parquet(sink)) == [value for value in batch for _ in range(2)]


def test_class_of_another_script_in_a_pipeline(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {ROOT!r})
        from pathlib import Path
        import torch
        from sparkdl import TorchModel
        from sparkdl.schema import INPUT, VECTOR, DataSchema, Field
        from sparkdl.network import check, resolve
        from sparkdl.tracking.directory import write_pipeline

        class Net(torch.nn.Module):
            def __init__(self, width):
                super().__init__()
                self.layers = torch.nn.Linear(3, width)
            def forward(self, x):
                return self.layers(x).sum(1)

        schema = DataSchema((Field("features", INPUT, VECTOR, ("features",), "float32", (3,)),))
        made = resolve(Net, {{"width": 3}}, schema)
        model = TorchModel._create(made.module, made.reference, schema, check(made.module, schema))
        write_pipeline(model, Path(sys.argv[1]))
        print("RESULT", made.module(torch.tensor([[0.0, 1.0, 2.0]])).item())
        """)
    )
    path = str(tmp_path / "saved")
    run = subprocess.run([sys.executable, str(script), path], capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr
    with pytest.raises(PersistenceError, match=r"Net was defined in a script, .* or load with trusted=True"):
        PipelineModel.load(path)
    with trusted():
        back = PipelineModel.load(path)
    expected = float(run.stdout.split("RESULT")[1])
    assert predicted(back.transform(frame))[0] == pytest.approx(expected, rel=1e-5)


def test_pipeline_of_an_untrained_stage_keeps_its_order(spark: SparkSession, tmp_path: Path) -> None:
    model = model_of(nn.Linear(3, 1))
    pipeline = Pipeline(stages=[VectorAssembler(inputCols=["a", "b", "c"], outputCol="features"), model])
    pipeline.save(str(tmp_path / "p"))
    stages = Pipeline.load(str(tmp_path / "p")).getStages()
    assert [type(stage).__name__ for stage in stages] == ["VectorAssembler", "TorchModel"]
    assert stages[1].uid == model.uid


def test_local_rows_without_spark(tmp_path: Path, spark: SparkSession) -> None:
    fields = (
        Field("x", INPUT, STACKED, ("a", "b"), "float32", (2,)),
        Field("v", INPUT, ARRAY, ("v",), "float32", (2,)),
        Field("i", INPUT, SCALAR, ("i",), "int64", (1,)),
    )

    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, v: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
            return torch.cat((x, v, i), 1)

    def predicted(**missing: float) -> pd.DataFrame:
        model = model_of(lambda: Sum(), *fields, **missing)
        model._set(handleInvalid="skip")
        model._input_columns = lambda: [("a", "b"), ("v",), ("i",)]  # type: ignore[method-assign]
        return model._local().predict(rows)

    rows = pd.DataFrame(
        {"a": [1, 2, 3], "b": [None, 5.0, 6.0], "v": [[1.0, None], Vectors.dense(2.0), None], "i": [7, 8, 9]},
        index=[10, 11, 12],
    )
    rows["b"] = rows["b"].astype(object).where(rows["b"].notna(), None)
    out = predicted(fill_value=0.5, pad_value=9.0)
    assert out.index.tolist() == [10, 11, 12]
    assert [list(p) for p in out["prediction"]] == [[1, 0.5, 1, 0.5, 7], [2, 5, 2, 9, 8], [3, 6, 0.5, 0.5, 9]]
    out = predicted(pad_value=9.0)
    assert out.index.tolist() == [11]
    assert [list(p) for p in out["prediction"]] == [[2, 5, 2, 9, 8]]


class Seconds(nn.Module):
    """Returns whole numbers that a float32 could not hold."""

    def forward(self, when: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return when.double() + n


def test_a_row_has_the_same_numbers_with_and_without_spark(spark: SparkSession, tmp_path: Path) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        times = "timestamp'2024-07-01 12:00:00', 5), (timestamp'1960-01-01 00:00:00', 7), (null, null"
        frame = spark.sql(f"select * from values ({times}) as t(time, n)")
        fields = (
            Field("time", INPUT, SCALAR, ("time",), "int64", (1,), (TIMESTAMP,)),
            Field("n", INPUT, SCALAR, ("n",), "int64", (1,)),
        )
        model = model_of(Seconds(), *fields).setInputCols(["time", "n"]).setHandleInvalid("keep")
        model.save(str(tmp_path / "m"))
        expected = [row["prediction"] for row in model.transform(frame.coalesce(1)).collect()]
        rows = frame.toPandas()
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    assert expected == [1_719_849_605.0, -315_601_193.0, None]
    for scorer in (model._local(), load_local(tmp_path / "m")):
        got = scorer.predict(rows)["prediction"]
        assert got.astype(object).where(got.notna(), None).tolist() == expected


def test_local_model_is_loaded_without_a_session(tmp_path: Path, spark: SparkSession) -> None:
    model = model_of("mlp", outputs=1)
    model.save(str(tmp_path / "m"))
    code = (
        "import sys, numpy as np\n"
        "from sparkdl.estimators.model import load_local\n"
        f"out = load_local({str(tmp_path / 'm')!r}).predict({{'features': np.array([[1.0, 2.0, 3.0]])}})\n"
        "print('RESULT', out['prediction'][0])\n"
        "from pyspark.sql import SparkSession\n"
        "assert SparkSession.getActiveSession() is None\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'horovod', 'petastorm', 'mlflow'}, loaded\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    with torch.no_grad():
        expected = model.network(torch.tensor([[1.0, 2.0, 3.0]])).item()
    assert float(run.stdout.split("RESULT")[1]) == pytest.approx(expected, rel=1e-5)
    metadata = tmp_path / "m" / "metadata" / "part-00000"
    metadata.write_text(metadata.read_text().replace("sparkdl.TorchModel", "sparkdl.HorovodRunner"))
    with pytest.raises(PersistenceError, match="there is a sparkdl.HorovodRunner, which is no model of sparkdl's"):
        load_local(tmp_path / "m")
