"""What is known before the rows is refused before them: no job runs, and no row is looked at."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import torch
from pyspark.errors import PythonException
from pyspark.ml.feature import StringIndexerModel, VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import SparkDLError, TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.errors import ClusterError, DataError, NetworkError, SettingError
from sparkdl.estimators.base import TrainingStage


@pytest.fixture(scope="module")
def untouchable(spark: SparkSession) -> DataFrame:
    """Four features whose number is in the metadata, a label with three classes; any row that is computed fails."""

    @F.udf("double")
    def fail(value: int) -> float:
        raise RuntimeError("a row was touched")

    rows = spark.range(8).select(fail("id").alias("x"), F.lit("a").alias("class"))
    assembled = VectorAssembler(inputCols=["x", "x", "x", "x"], outputCol="features").transform(rows)
    indexer = StringIndexerModel.from_labels(["a", "b", "c"], inputCol="class", outputCol="indexed")
    return indexer.transform(assembled).withColumn("label", F.col("x"))


def jobs(spark: SparkSession) -> int:
    return len(spark.sparkContext.statusTracker().getJobIdsForGroup(None))


class Holder(nn.Linear):
    def __init__(self, part: Any) -> None:
        super().__init__(4, 1)
        self.part = part


class Picky(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("my own check failed")


class Kept:
    """Copied as it is, and not pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return self

    def on_epoch_end(self, state: Any) -> None: ...


def regressor(**settings: Any) -> TorchRegressor:
    return TorchRegressor(**{"module": "mlp", "verbose": 0, "mlflow": "false", **settings})


def classifier(**settings: Any) -> TorchClassifier:
    return TorchClassifier(**{"module": "mlp", "labelCol": "indexed", "verbose": 0, "mlflow": "false", **settings})


def estimator(**settings: Any) -> TorchEstimator:
    return TorchEstimator(**{"module": "mlp", "verbose": 0, "mlflow": "false", **settings})


CASES: list[tuple[TrainingStage[Any], type[SparkDLError], str]] = [
    (
        regressor(moduleParams={"hiden": [4]}),
        SettingError,
        "invalid moduleParams key 'hiden': mlp .* did you mean 'hidden'",
    ),
    (
        regressor(module=nn.Linear(5, 1)),
        NetworkError,
        "mat1 and mat2 .*by its metadata, column 'features' has 4 numbers",
    ),
    (regressor(module=Picky(4, 1)), NetworkError, "the network Picky raised RuntimeError: my own check failed"),
    (
        regressor(module=Holder(threading.Lock())),
        NetworkError,
        "cannot be copied, because its attribute 'part' is a _thr",
    ),
    (
        regressor(module=Holder(Kept())),
        SettingError,
        r"attribute 'lock' of attribute 'part' of module \(_thread.lock\)",
    ),
    (
        regressor(callbacks=[Kept()]),
        SettingError,
        r"attribute 'lock' of callbacks\[0\] \(_thread.lock\) cannot be sent",
    ),
    (regressor(loss="cross_entropy"), SettingError, "invalid loss='cross_entropy': it learns classes"),
    (regressor(metrics=["spearman_corr_coef"]), SettingError, "keeps every row of an epoch in memory"),
    (classifier(loss="mse"), SettingError, "invalid loss='mse': it compares numbers.*take 'cross_entropy'"),
    (classifier(module=nn.Linear(4, 2)), NetworkError, "there are 3 classes: give its last layer 3 outputs"),
    (classifier(thresholds=[0.5, 0.5]), SettingError, "thresholds has 2 entries for 3 classes"),
    (classifier(labelCol="features"), DataError, "labelCol='features' holds arrays"),
    (
        regressor(cacheUrl="s4://bucket/x"),
        SettingError,
        "invalid cacheUrl='s4://bucket/x': no file system has the scheme",
    ),
    (
        regressor(cacheUrl="oss://bucket/x"),
        ClusterError,
        "cacheUrl='oss://bucket/x' cannot be opened: .*pip install ossfs",
    ),
    (regressor(cacheUrl="/proc/no/x"), ClusterError, r"cacheUrl='/proc/no/x' cannot be opened \(FileNotFoundError"),
    (estimator(labelCols=["label", "x"]), SettingError, "labelCols names 2 labels"),
    (estimator(loss="cross_entropy"), NetworkError, r"give moduleParams\['outputs'\]"),
    (
        estimator(module=nn.BatchNorm1d(4), labelCol="features", batchSize=1),
        SettingError,
        "batchSize=1 gives a rank a sin",
    ),
]


@pytest.mark.parametrize(("stage", "kind", "sentence"), CASES)
def test_nothing_runs(
    spark: SparkSession, untouchable: DataFrame, stage: TrainingStage[Any], kind: type[SparkDLError], sentence: str
) -> None:
    before = jobs(spark)
    with pytest.raises(kind, match=sentence) as error:
        stage.fit(untouchable)
    assert "\n" not in str(error.value)
    assert jobs(spark) == before


def test_rows_that_are_touched_are_noticed(spark: SparkSession, untouchable: DataFrame) -> None:
    before = jobs(spark)
    with pytest.raises(PythonException, match="a row was touched"):
        untouchable.collect()
    assert jobs(spark) > before


def test_rows_that_differ_from_their_metadata_are_packed_as_they_are(spark: SparkSession) -> None:
    rows = spark.range(40).select(
        F.col("id").cast("double").alias("x"), (F.col("id") % 2).cast("double").alias("label")
    )
    pair = VectorAssembler(inputCols=["x", "label"], outputCol="features").transform(rows)
    wrong = pair.withMetadata("features", {"ml_attr": {"num_attrs": 3}})
    model = regressor().fit(wrong)
    assert model.numFeatures == 2
    with pytest.raises(NetworkError, match=r"does not take its input features \(rows, 2\) float32"):
        regressor(module=nn.Linear(3, 1)).fit(wrong)


def test_labels_that_only_the_rows_tell(spark: SparkSession) -> None:
    rows = spark.range(40).select((F.col("id") / 40).alias("x"), F.lit(0.37).alias("label"))
    with pytest.raises(
        DataError, match="labelCol='label' has 40 labels that are not whole, such as 0.37, and loss='cross_ent"
    ):
        estimator(featuresCol="x", module=nn.Linear(1, 2), loss="cross_entropy").fit(rows)
    with pytest.raises(DataError, match=r"has 40 rows whose label is not a whole number \(0.37\)"):
        classifier(featuresCol="x", labelCol="label").fit(rows)


def test_a_store_that_does_not_answer(untouchable: DataFrame) -> None:
    options = {"key": "AKIASECRETKEY", "secret": "topsecret", "endpoint_url": "http://127.0.0.1:9"}
    # One answer is as good as five, which come in half a minute.
    once = {"config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(ClusterError) as error:
        regressor(cacheUrl="s3://rows/x", storageOptions={**options, **once}).fit(untouchable)
    assert re.fullmatch(
        r"cacheUrl='s3://rows/x' cannot be opened \(EndpointConnectionError: .*\): look at its host and port, .*",
        str(error.value),
    )
    assert not any(value in str(error.value) for value in options.values())
    assert error.value.__suppress_context__
