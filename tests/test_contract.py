"""The contract of Spark ML, for every public stage: what a Pipeline, a tuner and a reader of files may rely on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.ml import Estimator, Model, Pipeline, PipelineModel
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.ml.param import Params
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DoubleType, FloatType, LongType, StructField, StructType
from torch import nn

import sparkdl
from sparkdl import SparkDLError
from sparkdl.errors import DataError, NetworkError, PersistenceError, SettingError
from sparkdl.network import check, resolve
from sparkdl.persistence.stage import FORMAT_VERSION
from sparkdl.schema import INPUT, VECTOR, DataSchema, Field

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "models"
SCHEMA = DataSchema((Field("features", INPUT, VECTOR, ("features",), "float32", (3,)),))
HISTORY = [{"epoch": 1, "loss": 0.5, "val_loss": float("nan")}, {"epoch": 2, "loss": 0.25}]


def model_of(name: str, outputs: int, **extra: Any) -> Callable[[], Any]:
    def make() -> Any:
        made = resolve("mlp", {"hidden": [4]}, SCHEMA, outputs, 7)
        shapes = check(made.module, SCHEMA)
        return getattr(sparkdl, name)._create(made.module, made.reference, SCHEMA, shapes, HISTORY, **extra)

    return make


def estimator_of(name: str) -> Callable[[], Any]:
    settings: dict[str, Any] = {"module": "mlp", "moduleParams": {"hidden": (4,)}, "backend": "local", "verbose": 0}
    return lambda: getattr(sparkdl, name)(**settings)


STAGES: dict[str, Callable[[], Any]] = {
    "TorchEstimator": estimator_of("TorchEstimator"),
    "TorchClassifier": estimator_of("TorchClassifier"),
    "TorchRegressor": estimator_of("TorchRegressor"),
    "TorchModel": model_of("TorchModel", 2),
    "TorchClassificationModel": model_of("TorchClassificationModel", 3, num_classes=3, labels=["a", "b", "c"]),
    "TorchRegressionModel": model_of("TorchRegressionModel", 1),
}
MODELS = [name for name in STAGES if name.endswith("Model")]
ESTIMATORS = [name for name in STAGES if name not in MODELS]


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    rows = [(i, Vectors.dense(i, 1.0, 2.0), float(i % 3)) for i in range(6)]
    return spark.createDataFrame(rows, ["id", "features", "label"]).coalesce(1)


def values(stage: Params) -> dict[str, Any]:
    return {param.name: value for param, value in stage.extractParamMap().items()}


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    return [row.asDict() for row in sorted(frame.collect(), key=lambda row: row["id"])]


def test_every_public_stage_is_here() -> None:
    public = {name: getattr(sparkdl, name) for name in sparkdl.__all__}
    stages = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Params)}
    assert stages == set(STAGES)
    for name, make in STAGES.items():
        assert type(make()).__module__ == "sparkdl"
        assert isinstance(make(), Model if name in MODELS else Estimator)


@pytest.mark.parametrize("name", STAGES)
def test_uid_params_and_copies(name: str) -> None:
    stage, other = STAGES[name](), STAGES[name]()
    assert stage.uid.startswith(name)
    assert stage.uid != other.uid
    batch = stage.batchSize
    changed = stage.copy({batch: 7, stage.featuresCol: "x"})
    assert type(changed) is type(stage)
    assert (changed.uid, changed.getBatchSize(), changed.getFeaturesCol()) == (stage.uid, 7, "x")
    assert stage.getBatchSize() == stage.getOrDefault(batch) == batch.default
    assert not stage.isSet(batch)
    assert changed.isSet(batch)
    changed.setBatchSize(9)
    assert changed.copy().getBatchSize() == 9
    assert values(stage.copy()) == values(stage)
    explained = stage.explainParams().splitlines()
    for param in stage.params:
        assert any(line.startswith(f"{param.name}: ") for line in explained), param.name
        assert stage.hasDefault(param) == (param.default is not None)
        assert param.parent == stage.uid
    with pytest.raises(TypeError, match="no Param 'bacthSize': did you mean 'batchSize'"):
        stage.setParams(bacthSize=1)


@pytest.mark.parametrize("name", STAGES)
def test_saved_loaded_overwritten_and_refused(name: str, spark: SparkSession, tmp_path: Path) -> None:
    stage = STAGES[name]().setBatchSize(3)
    path, cls = str(tmp_path / "a stage"), type(stage)
    stage.save(path)
    with pytest.raises(PersistenceError, match=r"exists already: use write\(\).overwrite\(\).save\(path\)"):
        stage.setBatchSize(5).save(path)
    assert cls.load(path).getBatchSize() == 3
    stage.write().overwrite().save(path)
    back = cls.read().load(path)
    assert (type(back), back.uid) == (cls, stage.uid)
    assert values(back) == values(stage)
    assert [back.isSet(param) for param in back.params] == [stage.isSet(param) for param in stage.params]
    for other in STAGES:
        if other != name:
            with pytest.raises(PersistenceError, match=rf"holds a sparkdl\.{name}, not a .* with {name}\.load"):
                getattr(sparkdl, other).load(path)
    part = Path(path) / "metadata" / "part-00000"
    saved = json.loads(part.read_text())
    assert saved["formatVersion"] == FORMAT_VERSION
    part.write_text(json.dumps({**saved, "formatVersion": FORMAT_VERSION + 1, "sparkdlVersion": "9.1"}))
    with pytest.raises(PersistenceError, match=rf"format version {FORMAT_VERSION + 1}, .* load it with sparkdl 9\.1"):
        cls.load(path)


@pytest.mark.parametrize("name", MODELS)
def test_schema_nulls_and_no_rows(name: str, spark: SparkSession, frame: DataFrame) -> None:
    model = STAGES[name]()
    scored = model.transform(frame)
    made = model.transformSchema(frame.schema)
    assert [(f.name, f.dataType) for f in made] == [(f.name, f.dataType) for f in scored.schema]
    assert made.names[:3] == frame.columns
    added = made.names[3:]
    with pytest.raises(SettingError, match="output column '.*' exists already"):
        model.transformSchema(made)
    with pytest.raises(DataError, match="featuresCol='nope' is missing"):
        model.copy({model.featuresCol: "nope"}).transformSchema(frame.schema)
    assert "hidden" in model.transform(frame, {model.outputLayers: {"layers.0": "hidden"}}).columns
    assert "hidden" not in model.transform(frame).columns

    none = model.transform(frame.filter("id < 0"))
    assert (none.collect(), none.columns) == ([], made.names)
    nulls = spark.createDataFrame([(0, None), (1, Vectors.dense(1.0, 1.0, 2.0))], frame.select("id", "features").schema)
    kept = rows_of(model.copy({model.handleInvalid: "keep"}).transform(nulls))
    assert [kept[0][column] for column in added] == [None] * len(added)
    assert kept[1]["prediction"] == rows_of(scored)[1]["prediction"]
    skipped = model.setHandleInvalid("skip").transform(nulls)
    assert [row["id"] for row in rows_of(skipped)] == [1]
    with pytest.raises(PythonException, match="column 'features': 1 null rows .* set handleInvalid"):
        model.setHandleInvalid("error").transform(nulls.coalesce(1)).collect()


@pytest.mark.parametrize(("name", "of"), [*zip(ESTIMATORS, MODELS, strict=True)])
def test_schema_of_estimators(name: str, of: str) -> None:
    stage, model = STAGES[name](), STAGES[of]()
    # TorchModel's network here returns two numbers for a row.
    label = ArrayType(FloatType()) if name == "TorchEstimator" else DoubleType()
    schema = StructType([StructField("id", LongType()), StructField("features", VectorUDT())]).add("label", label)
    made = stage.transformSchema(schema)
    assert [(f.name, f.dataType) for f in made] == [(f.name, f.dataType) for f in model.transformSchema(schema)]
    assert made.names[:3] == schema.names
    renamed = stage.copy({stage.predictionCol: "y"}).transformSchema(schema)
    assert [f.name == "y" for f in renamed] == [f.name == "prediction" for f in made]
    with pytest.raises(SettingError, match="names a column that the DataFrame has already"):
        stage.transformSchema(made)
    with pytest.raises(DataError, match="featuresCol='nope' is not in the DataFrame"):
        stage.copy({stage.featuresCol: "nope"}).transformSchema(schema)
    with pytest.raises(DataError, match="labelCol='label' is string and cannot be a label"):
        stage.transformSchema(StructType(schema.fields[:2]).add("label", "string"))


def test_schema_of_networks_whose_inputs_are_known() -> None:
    scalars = StructType([StructField(name, DoubleType()) for name in ("a", "b", "label", "more")])
    known = sparkdl.TorchEstimator(module=nn.Linear(2, 3), featuresCols=["a", "b"], loss=lambda output, target: output)
    assert known.transformSchema(scalars)["prediction"].dataType == ArrayType(FloatType())
    named = sparkdl.TorchEstimator(module="mlp", featuresCols=["a", "b"])
    assert named.transformSchema(scalars)["prediction"].dataType == DoubleType()
    with pytest.raises(NetworkError, match="Linear"):
        named.setModule(nn.Linear(5, 1)).transformSchema(scalars)
    arrays = StructType([StructField("features", ArrayType(FloatType()))])
    classes = sparkdl.TorchEstimator(module="mlp", moduleParams={"outputs": 3}, loss="cross_entropy").transformSchema(
        arrays.add("label", "integer")
    )
    assert classes["prediction"].dataType == ArrayType(FloatType())
    several = sparkdl.TorchEstimator(module="mlp", labelCols=["label", "more"])
    with pytest.raises(SettingError, match="2 labels, .* predictionCol names one column: set outputCols"):
        several.transformSchema(arrays.add("more", "double"))
    both = several.setModule(nn.Linear(2, 1)).setOutputCols(["one", "two"]).transformSchema(arrays)
    assert [both[name].dataType for name in ("one", "two")] == [DoubleType(), DoubleType()]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_refuse_nulls_and_no_rows(name: str, spark: SparkSession, frame: DataFrame) -> None:
    stage = STAGES[name]()
    with pytest.raises(SparkDLError, match="no rows|without rows|is empty|0 rows"):
        stage.fit(frame.filter("id < 0"))
    nulls = frame.selectExpr("if(id = 3, null, features) as features", "label")
    with pytest.raises(DataError, match="'features' has 1 row with a null"):
        stage.fit(nulls)


def test_all_stages_through_pipelines_and_in_a_fresh_process(
    spark: SparkSession, frame: DataFrame, tmp_path: Path
) -> None:
    models = [STAGES[name]() for name in MODELS]
    for model in models:
        names = {"predictionCol": "rawPredictionCol", "rawPredictionCol": "raw", "probabilityCol": "prob"}
        model._set(**{k: f"{model.uid}_{v}" for k, v in names.items() if model.hasParam(k)})
    PipelineModel(models).write().overwrite().save(str(tmp_path / "models"))
    Pipeline(stages=[STAGES[name]() for name in ESTIMATORS]).save(str(tmp_path / "estimators"))
    loaded = PipelineModel.load(str(tmp_path / "models"))
    assert [type(stage).__name__ for stage in loaded.stages] == MODELS
    assert [stage.uid for stage in loaded.stages] == [model.uid for model in models]
    assert [json.dumps(stage.history) for stage in loaded.stages] == [json.dumps(HISTORY)] * 3  # type: ignore[attr-defined]
    expected = rows_of(loaded.transform(frame))
    assert expected == rows_of(PipelineModel(models).transform(frame))

    program = textwrap.dedent(
        """
        import json, sys
        from pyspark.ml import Pipeline, PipelineModel
        from pyspark.ml.linalg import Vectors
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        rows = [(i, Vectors.dense(i, 1.0, 2.0), float(i % 3)) for i in range(6)]
        frame = spark.createDataFrame(rows, ["id", "features", "label"]).coalesce(1)
        estimators = [type(stage).__name__ for stage in Pipeline.load(sys.argv[1] + "/estimators").getStages()]
        scored = PipelineModel.load(sys.argv[1] + "/models").transform(frame).orderBy("id").collect()

        def modules(batches):
            import sys, pandas as pd
            for batch in batches:
                yield pd.DataFrame({"name": sorted({name.partition(".")[0] for name in sys.modules})})

        # The worker that has scored is used again.
        there = [row["name"] for row in spark.range(1).coalesce(1).mapInPandas(modules, "name string").collect()]
        here = {name.partition(".")[0] for name in sys.modules}
        values = [[str(value) for value in row] for row in scored]
        print("RESULT", json.dumps([estimators, values, there, sorted(here)]))
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    estimators, scored, there, here = json.loads(run.stdout.split("RESULT")[1])
    assert estimators == ESTIMATORS
    assert scored == [[str(value) for value in row.values()] for row in expected]
    assert "torch" in there
    assert "torch" in here
    assert not {"horovod", "petastorm", "mlflow"} & set(there)
    # Reading an estimator may bring what fits need; reading and using a model alone is looked at in test_model.
    assert not {"horovod", "petastorm", "mlflow"} & set(here)


@pytest.mark.parametrize("folder", sorted(path for path in FIXTURES.iterdir() if path.is_dir()), ids=lambda p: p.name)
def test_stages_saved_by_earlier_versions(folder: Path, spark: SparkSession) -> None:
    """Folders of versions that were released stay as they are; `make.py` beside them adds one."""
    expected = json.loads((folder / "expected.json").read_text())
    rows = spark.createDataFrame(list(enumerate(expected["features"])), "id int, features array<float>")
    for name in STAGES:
        stage = getattr(sparkdl, name).load(str(folder / name))
        if name in ESTIMATORS:
            assert (stage.getModule(), stage.getModuleParams(), stage.getEpochs()) == ("mlp", {"hidden": (2,)}, 3)
            assert stage.getLearningRate() == 0.5
            continue
        assert stage.history[0] == {"epoch": 1, "loss": 0.5}
        scored = rows_of(stage.transform(rows))
        for column, predicted in expected["predicted"][name].items():
            np.testing.assert_allclose([row[column] for row in scored], list(predicted.values()), rtol=1e-5, atol=1e-6)
