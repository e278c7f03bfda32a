"""What a model is given to score, saved over, and loaded from: refused at once, and nothing half-written stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import TorchClassificationModel, TorchModel, TorchRegressionModel, TorchRegressor
from sparkdl.errors import DataError, NetworkError, PersistenceError, SettingError, SettingTypeError
from sparkdl.network import check as output_shapes
from sparkdl.network import resolve
from sparkdl.schema import ARRAY, INPUT, SCALAR, DataSchema, Field
from tests.bad_input.case import Case, check, each, regressor


@dataclass
class World:
    """What the cases share.

    Attributes
    ----------
    rows : DataFrame
        With columns that are and are not what the models take.
    one, pair : NetworkModel
        Regression models of a number, and of two in an array.
    classes : TorchClassificationModel
        Of two classes.
    folder : Path
        Holds "model", which is `one` as it was saved, and a file "note".
    """

    rows: DataFrame
    one: TorchRegressionModel
    pair: TorchRegressionModel
    classes: TorchClassificationModel
    folder: Path


def model(cls: Any, kind: str, size: int, outputs: int = 1, **extra: Any) -> Any:
    schema = DataSchema((Field("features", INPUT, kind, ("x",), "float32", (size,)),))
    made = resolve(nn.Sequential(nn.Linear(size, outputs)), {}, schema)
    shapes = output_shapes(made.module, schema)
    return cls._create(made.module, made.reference, schema, shapes, [{"loss": 1.0}], **extra)._set(featuresCol="x")


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("models")
    one = model(TorchRegressionModel, SCALAR, 1)
    one.save(folder / "model")
    (folder / "note").write_text("no model")
    rows = spark.range(3).select(
        F.col("id").cast("double").alias("x"),
        F.array(F.lit(1.0), F.lit(2.0)).alias("pair"),
        F.array(F.array(F.lit(1.0))).alias("nested"),
        F.lit("a").alias("text"),
    )
    return World(
        rows,
        one,
        model(TorchRegressionModel, ARRAY, 2),
        model(TorchClassificationModel, SCALAR, 1, 2, num_classes=2),
        folder,
    )


def damaged(change: Callable[[Path], Any]) -> Callable[[World], Any]:
    """What loads the saved model after a change of its folder."""

    def load(world: World) -> Any:
        copy = world.folder / "damaged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(world.folder / "model", copy, ignore=shutil.ignore_patterns(".*.crc"))
        change(copy)
        return TorchRegressionModel.load(copy)

    return load


def described(change: Callable[[dict[str, Any]], Any]) -> Callable[[World], Any]:
    """What loads the saved model after a change of its metadata."""

    def edit(folder: Path) -> None:
        path = folder / "metadata" / "part-00000"
        metadata = json.loads(path.read_text())
        change(metadata)
        path.write_text(json.dumps(metadata))

    return damaged(edit)


def renamed(folder: Path) -> None:
    path = folder / "network.json"
    path.write_text(path.read_text().replace("Linear", "Lienar"))


def cut(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


EXISTS = "exists already: drop it, or give the model another name for it .*"
READS = r"it has format version {}, this sparkdl \S+ reads 1 to 2: load it with sparkdl .*"
DAMAGED = r".*/damaged: "
NO_TENSORS = r"weights.safetensors cannot be read as tensors and nothing else \(.*\): the file is damaged or was not .*"

SCORING = [
    Case(
        "pandas",
        lambda w: w.one.transform(pd.DataFrame({"x": [1.0]})),
        SettingTypeError,
        r"invalid dataset of transform=<DataFrame>: expected a Spark DataFrame, give spark.createDataFrame\(dataset\)",
    ),
    Case(
        "pandas-with-a-param-map",
        lambda w: w.one.transform(pd.DataFrame({"x": [1.0]}), {w.one.batchSize: 2}),
        SettingTypeError,
        r"invalid dataset of transform=<DataFrame>: expected a Spark DataFrame, give spark.createDataFrame\(dataset\)",
    ),
    Case(
        "no-column",
        lambda w: w.one.transform(w.rows.drop("x")),
        DataError,
        r"featuresCol='x' is missing in the DataFrame \(it has 'pair', 'nested', 'text'\)",
    ),
    Case(
        "no-column-in-the-schema",
        lambda w: w.one.transformSchema(w.rows.drop("x").schema),
        DataError,
        r"featuresCol='x' is missing in the DataFrame \(it has 'pair', 'nested', 'text'\)",
    ),
    Case(
        "two-columns",
        lambda w: w.one.transform(w.rows.select("x", "x")),
        DataError,
        "featuresCol='x' stands 2 times in the DataFrame: rename all but one of them",
    ),
    Case(
        "text",
        lambda w: w.one.transform(w.rows.select(F.col("text").alias("x"))),
        DataError,
        r"featuresCol='x' is of type string, the network was trained on scalar rows of the shape \(1,\): convert .*",
    ),
    Case(
        "number-for-an-array",
        lambda w: w.pair.transform(w.rows),
        DataError,
        "'x' gives 1 number for each row, the network was made for 2: give a column of arrays or vectors, .*",
    ),
    Case(
        "nested-for-an-array",
        lambda w: w.pair.copy()._set(featuresCol="nested").transform(w.rows),
        DataError,
        r"featuresCol='nested' holds arrays nested 2 deep, the network was made for rows of the shape \(2,\) .*",
    ),
    Case(
        "text-of-several",
        lambda w: w.pair.copy()._set(featuresCol=None, featuresCols=["x", "text"]).transform(w.rows),
        DataError,
        "column 'text' of featuresCols is of type string, the network was trained on array rows .*",
    ),
    Case(
        "two-inputs-for-one",
        lambda w: w.pair.copy()._set(featuresCol=None, inputCols=["x", "pair"]).transform(w.rows),
        SettingError,
        r"the network has 1 input, and columns for 2 are named \('x', 'pair'\): set inputCols, or featuresCols for .*",
    ),
    Case(
        "output-exists-in-another-case",
        lambda w: w.one.transform(w.rows.withColumn("PREDICTION", F.lit(1))),
        SettingError,
        f"the output column 'prediction' {EXISTS}",
    ),
    Case(
        "twice",
        lambda w: w.one.transform(w.one.transform(w.rows)),
        SettingError,
        f"the output column 'prediction' {EXISTS}",
    ),
    Case(
        "two-outputs-of-one-name",
        lambda w: w.classes.copy()._set(probabilityCol="prediction").transform(w.rows),
        SettingError,
        f"the output column 'prediction' {EXISTS}",
    ),
    Case(
        "layer-over-a-column",
        lambda w: w.one.copy()._set(outputLayers={"0": "pair"}).transform(w.rows),
        SettingError,
        f"the output column 'pair' {EXISTS}",
    ),
    Case(
        "no-such-layer",
        lambda w: w.one.copy()._set(outputLayers={"1": "inner"}).transform(w.rows),
        NetworkError,
        "outputLayers names '1', the layers of this network are: 0",
    ),
    Case(
        "thresholds-of-three",
        lambda w: w.classes.copy()._set(thresholds=[1.0, 1.0, 1.0]).transform(w.rows),
        SettingError,
        "thresholds has 3 entries for 2 classes: give one for each, in order",
    ),
    Case(
        "handle-invalid",
        lambda w: w.one.copy().setHandleInvalid("ignore"),
        SettingError,
        "invalid handleInvalid='ignore': expected 'error', 'skip' or 'keep'",
    ),
    Case(
        "never-fitted",
        lambda w: TorchModel().transform(w.rows),
        SettingError,
        "this TorchModel holds no network: make it by fit or by load",
    ),
    Case(
        "array-in-this-process",
        lambda w: w.one._local().predict(np.zeros((1000, 1))),
        SettingTypeError,
        "invalid rows=<ndarray>: expected a pandas DataFrame, or a dict with 'x' as keys",
    ),
    Case(
        "no-column-in-this-process",
        lambda w: w.one._local().predict({f"c{i}": [1.0] for i in range(12)}),
        DataError,
        "column 'x' is missing, the rows have 'c0', .*, 'c9' and 2 more",
    ),
]

LOADING = [
    Case(
        "missing",
        lambda w: TorchModel.load(w.folder / "none"),
        PersistenceError,
        ".*/none: there is nothing to load",
    ),
    Case(
        "a-file", lambda w: TorchModel.load(w.folder / "note"), PersistenceError, ".*/note: there is no saved stage .*"
    ),
    Case(
        "no-path",
        lambda w: TorchModel.load(None),
        SettingTypeError,
        "invalid path=None: expected a path or a URL as text, or a Path",
    ),
    Case(
        "unknown-scheme",
        lambda w: TorchModel.load("foo://host/model"),
        PersistenceError,
        'foo://host/model cannot be read or written: .*No FileSystem for scheme "foo"',
    ),
    Case(
        "another-class",
        lambda w: TorchModel.load(w.folder / "model"),
        PersistenceError,
        ".*: it holds a sparkdl.TorchRegressionModel, not a sparkdl.TorchModel: load it with TorchRegressionModel.load",
    ),
    Case(
        "an-estimator's-class",
        lambda w: TorchRegressor.load(w.folder / "model"),
        PersistenceError,
        ".*: it holds a sparkdl.TorchRegressionModel, not a sparkdl.TorchRegressor: load it with TorchRegressionM.*",
    ),
    Case("no-metadata", damaged(lambda d: shutil.rmtree(d / "metadata")), PersistenceError, DAMAGED + "there is no .*"),
    Case(
        "later-version", described(lambda m: m.update(formatVersion=99)), PersistenceError, DAMAGED + READS.format(99)
    ),
    Case(
        "version-of-text",
        described(lambda m: m.update(formatVersion="2")),
        PersistenceError,
        DAMAGED + READS.format("'2'"),
    ),
    Case(
        "no-version",
        described(lambda m: m.pop("formatVersion")),
        PersistenceError,
        DAMAGED + READS.format("None"),
    ),
    Case(
        "param-of-another-type",
        described(lambda m: m["paramMap"].update(batchSize="many")),
        PersistenceError,
        DAMAGED + "what is saved there does not fit together: invalid batchSize='many': expected an integer >= 0",
    ),
    Case(
        "param-of-a-later-version",
        described(lambda m: m["paramMap"].update(later=1)),
        PersistenceError,
        DAMAGED + "TorchRegressionModel has no Param 'later', the saved one has: load it with the sparkdl that .*",
    ),
    Case(
        "no-weights",
        damaged(lambda d: (d / "weights.safetensors").unlink()),
        PersistenceError,
        DAMAGED + NO_TENSORS,
    ),
    Case("cut-weights", damaged(cut), PersistenceError, DAMAGED + NO_TENSORS),
    Case(
        "no-network",
        damaged(lambda d: (d / "network.json").unlink()),
        PersistenceError,
        DAMAGED + "there is no file network.json",
    ),
    Case(
        "no-history",
        damaged(lambda d: (d / "history.json").unlink()),
        PersistenceError,
        DAMAGED + "there is no file history.json",
    ),
    Case("unknown-layer", damaged(renamed), PersistenceError, DAMAGED + ".*Lienar.*"),
]

SAVING = [
    Case(
        "exists",
        lambda w: w.one.save(str(w.folder / "model")),
        PersistenceError,
        r".*/model exists already: use write\(\).overwrite\(\).save\(path\), or another path",
    ),
    Case(
        "below-a-file",
        lambda w: w.one.save(w.folder / "note" / "model"),
        PersistenceError,
        ".*/note/model cannot be read or written: .*ParentNotDirectoryException: Parent path is not a directory: .*",
    ),
    Case(
        "not-writable",
        lambda w: w.one.save("/proc/none/model"),
        PersistenceError,
        "/proc/none/model cannot be read or written: java.io.IOException: Mkdirs failed to create /proc/none/model",
    ),
    Case(
        "no-path",
        lambda w: w.one.save(3),
        SettingTypeError,
        "invalid path=3: expected a path or a URL as text, or a Path",
    ),
    Case(
        "a-lambda",
        lambda w: regressor(loss=lambda output, target: (output - target) ** 2).save(w.folder / "lambda"),
        PersistenceError,
        "loss cannot be saved: loss holds .*<lambda>.*, which cannot be found again by its name; use a name, or a .*",
    ),
    Case(
        "export-over-a-folder",
        lambda w: w.one.exportModel(w.folder / "model", format="torchscript"),
        PersistenceError,
        ".*/model exists already: remove it, or export to another path",
    ),
    Case(
        "export-format",
        lambda w: w.one.exportModel(w.folder / "exported", format="tflite"),
        SettingError,
        "invalid format='tflite': expected 'onnx', 'torchscript' or 'pt2'",
    ),
]


@each(SCORING)
def test_scoring(world: World, case: Case) -> None:
    check(case, world)


@each(LOADING)
def test_loading(world: World, case: Case) -> None:
    check(case, world)


@each(SAVING)
def test_saving(world: World, case: Case) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.folder.rglob("*")}
    check(case, world)
    assert {path: path.stat().st_mtime_ns for path in world.folder.rglob("*")} == before


def test_no_rows_are_no_error(world: World) -> None:
    scored = world.one.transform(world.rows.filter("false"))
    assert scored.columns == [*world.rows.columns, "prediction"]
    assert scored.count() == 0
