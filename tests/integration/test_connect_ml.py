"""Spark Connect ML: clients that hold pyspark-client alone, and a real server with the jar and the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

import sparkdl
from tests.versions.connect_server import server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, sys, threading, time
from importlib.util import find_spec
from pathlib import Path
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import SparkSession
from sparkdl import SparkDLError
from sparkdl.connect import TorchClassificationModel, TorchClassifier, TorchEstimator, TorchRegressionModel

folder, flip = Path(sys.argv[1]), int(sys.argv[2])
spark = SparkSession.builder.getOrCreate()
rows = [([float(i % 2), float(i % 3)], float(i % 2), (i + flip) % 2) for i in range(60)]
frame = spark.createDataFrame(rows, "features array<double>, a double, label int")
clf = TorchClassifier(
    module="mlp", moduleParams={"hidden": [8]}, metrics=["accuracy"], epochs=4, batchSize=20, seed=3, learningRate=0.1
)

def predictions(model, rows=frame):
    return [row["prediction"] for row in model.transform(rows).collect()]
"""
THIN = (
    START
    + """
assert find_spec("torch") is None and find_spec("py4j") is None
import sparkdl
assert sparkdl.TorchClassifier is TorchClassifier

def refused(name, call):
    try:
        call()
    except SparkDLError as error:
        print("REFUSED", name, str(error), flush=True)

# The ranks of a fit that its client gives up leave their slots to the next one.
def interrupt():
    while "epoch 2/100000:" not in (folder / "server.log").read_text():
        time.sleep(0.3)
    spark.interruptAll()

threading.Thread(target=interrupt).start()
try:
    clf.copy({clf.epochs: 100000, clf.numProcs: 2}).fit(frame)
except Exception as error:
    print("CANCELLED", "OPERATION_CANCELED" in str(error), flush=True)

model = clf.copy({clf.numProcs: 2}).fit(frame)
expected = predictions(model)
print("ACCURACY", sum(p == row[2] for p, row in zip(expected, rows)) / 60, flush=True)
print("MODEL", model.uid == clf.uid, model.numClasses, model.numFeatures, model.getBatchSize(), flush=True)
print("COLUMNS", model.transform(frame).columns, flush=True)
print("CHANGED", model.copy({model.predictionCol: "mine"}).transform(frame).columns[-1], flush=True)
place = str(folder / "model")
model.save(place)
print("SAME", predictions(TorchClassificationModel.load(place)) == expected, flush=True)
clf.save(str(folder / "estimator"))
print("ESTIMATOR", TorchClassifier.load(str(folder / "estimator"))._paramMap == clf._paramMap, flush=True)

refused("value", lambda: clf.copy({clf.epochs: 0}))
refused("column", lambda: clf.copy({clf.labelCol: "none"}).fit(frame))
refused("name", lambda: clf.copy({clf.module: "mlpp"}).fit(frame))
refused("import", lambda: clf.copy({clf.module: "no.such:Net"}).fit(frame))
refused("nothing", lambda: TorchClassificationModel.load(place + "-none"))
refused("other", lambda: TorchRegressionModel.load(place))
refused("history", lambda: model.history)

stages = [VectorAssembler(inputCols=["a", "label"], outputCol="v"), clf.copy({clf.featuresCol: "v"})]
pipeline = Pipeline(stages=stages).fit(frame)
pipeline.save(str(folder / "pipeline"))
again = PipelineModel.load(str(folder / "pipeline"))
print("PIPELINE", type(again.stages[1]).__module__, predictions(again) == predictions(pipeline), flush=True)

grid = ParamGridBuilder().addGrid(clf.moduleParams, [{"hidden": [4]}, {"hidden": [8]}]).build()
evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
search = CrossValidator(estimator=clf, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, parallelism=2, seed=1)
best = search.fit(frame)
best.save(str(folder / "search"))
again = CrossValidatorModel.load(str(folder / "search"))
print("SEARCH", len(best.avgMetrics), predictions(again.bestModel) == predictions(best), flush=True)
spark.stop()
"""
)
OTHER = (
    START
    + """
model = clf.fit(frame)
print("ACCURACY", sum(p == row[2] for p, row in zip(predictions(model), rows)) / 60, flush=True)
double = TorchEstimator(module="mlp", labelCol="a", outputCols=["y"], epochs=1).fit(frame)
print("COLUMNS", double.transform(frame).columns, flush=True)
spark.stop()
"""
)
# What a client has saved, in an application with a driver of its own.
READER = """
import sys
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from sparkdl import TorchClassificationModel, TorchClassifier, jar_path

folder = sys.argv[1]
conf = {"spark.master": "local[1]", "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
spark = SparkSession.builder.config(map={**conf, "spark.jars": jar_path()}).getOrCreate()
rows = [([float(i % 2), float(i % 3)], float(i % 2), i % 2) for i in range(60)]
frame = spark.createDataFrame(rows, "features array<double>, a double, label int")
model = TorchClassificationModel.load(folder + "/model")
found = model.transform(frame).collect()
print("PYTHON", sum(row["prediction"] == row["label"] for row in found), len(model.history), flush=True)
print("ESTIMATOR", TorchClassifier.load(folder + "/estimator").getModuleParams(), flush=True)
columns = ["prediction", "probability"]
for name in ("model", "pipeline"):
    python = (TorchClassificationModel if name == "model" else PipelineModel).load(f"{folder}/{name}").transform(frame)
    scala = DataFrame(spark._jvm.sparkdl.SparkDL.load(f"{folder}/{name}").transform(frame._jdf), spark)
    print("SCALA", name, scala.select(columns).collect() == python.select(columns).collect(), flush=True)
spark.stop()
"""


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Python that has pyspark-client and what that asks for."""
    folder = tmp_path_factory.mktemp("thin")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    wanted = [f"pyspark-client=={pyspark.__version__}", "pandas<3"]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True, timeout=600)
    return python


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    conf = {
        "spark.jars": sparkdl.jar_path(),
        "spark.connect.ml.backend.classes": "sparkdl.connect.SparkDLPlugin",
        # The server keeps its models on disk as well, by saveToLocal.
        "spark.connect.session.connectML.mlCache.memoryControl.enabled": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with server(place, **conf) as given:
            yield given


def started(python: Path, program: str, folder: Path, address: str, *arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SPARK_REMOTE": address, "PYSPARK_PYTHON": sys.executable}
    if not address:
        del env["SPARK_REMOTE"]
    # A file: without one pyspark-client imports tests of its own, and wants a SPARK_HOME.
    with tempfile.NamedTemporaryFile("w", suffix=".py", dir=folder, delete=False) as script:
        script.write(program)
    command = [str(python), script.name, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=folder)


def printed(client: subprocess.Popen[str]) -> dict[str, str]:
    out, err = client.communicate(timeout=900)
    assert client.returncode == 0, out + err
    lines = (line.removeprefix("REFUSED ").partition(" ") for line in out.splitlines())
    return {name: said for name, _, said in lines}


def test_thin_clients(thin: Path, place: Path, address: str) -> None:
    client = started(thin, THIN, place, address, "0")
    other = started(Path(sys.executable), OTHER, place, address, "1")
    found, beside = printed(client), printed(other)
    assert found["CANCELLED"] == "True"
    assert found["ACCURACY"] == beside["ACCURACY"] == "1.0"
    assert found["MODEL"] == "True 2 2 0"
    columns = ["features", "a", "label"]
    assert found["COLUMNS"] == str([*columns, "rawPrediction", "probability", "prediction"])
    assert beside["COLUMNS"] == str([*columns, "y"])
    assert found["CHANGED"] == "mine"
    assert found["SAME"] == found["ESTIMATOR"] == "True"
    assert found["value"] == "invalid epochs=0: expected an integer >= 1"
    assert found["column"] == "labelCol='none' is not in the DataFrame (it has 'features', 'a', 'label')"
    assert found["name"] == "module='mlpp' is no network of sparkdl.nn: did you mean 'mlp'?"
    assert found["import"].startswith("'no.such:Net' cannot be imported by the driver's Python (No module named 'no'):")
    assert found["nothing"].startswith(f"{place}/model-none: there is no saved stage")
    assert found["other"].startswith(f"{place}/model: it holds a sparkdl.TorchClassificationModel, not a")
    assert found["history"].startswith("the history of a fit does not travel over Spark Connect ML")
    assert found["PIPELINE"] == "sparkdl.connect True"
    assert found["SEARCH"] == "2 True"


def test_python_and_scala_load_what_a_client_saved(place: Path, address: str) -> None:
    out, err = started(Path(sys.executable), READER, place, "").communicate(timeout=600)
    assert out.splitlines() == [
        "PYTHON 60 4",
        "ESTIMATOR {'hidden': [8]}",
        "SCALA model True",
        "SCALA pipeline True",
    ], out + err


def test_a_server_without_the_jar(thin: Path, tmp_path: Path) -> None:
    program = START + "try:\n    clf.fit(frame)\nexcept SparkDLError as error:\n    print('REFUSED', 'fit', error)"
    with server(tmp_path) as address:
        found = printed(started(thin, program, tmp_path, address, "0"))
    assert found["fit"].startswith("this server does not know sparkdl.TorchClassifier: start it with --jars")
