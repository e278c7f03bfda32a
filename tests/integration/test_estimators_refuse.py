"""Bad input: each a sentence that names value, place and remedy, on the driver, and nothing is left behind."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import SparkDLError, TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.errors import ClusterError, DataError, NetworkError, SettingError


def ranks() -> list[int]:
    """Processes of ranks whose tasks are ours: a rank's working folder is named after its task's process."""
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        match = re.search(r"sparkdl-rank-(\d+)-", process.info["cwd"] or "")
        if match and process.info["status"] != psutil.STATUS_ZOMBIE and is_below(int(match[1])):
            found.append(process.pid)
    return found


def is_below(pid: int) -> bool:
    try:
        return os.getpid() in [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place of temporary files for all tests, or each would start a server of its own to fork ranks from."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture
def clean(good: DataFrame, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check that neither a folder nor a rank is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    deadline = time.monotonic() + 20
    while ranks() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ranks() == []
    # The server that forks ranks may stay for a minute, and its address with it.
    ours = {path.name for path in temporary.glob("sparkdl*")} - {
        path.name for path in temporary.glob("sparkdl-prefork-*")
    }
    assert ours == set()


@pytest.fixture(scope="module")
def good(spark: SparkSession) -> DataFrame:
    """40 rows with a column for each thing that can be wrong."""
    index, last = F.col("id"), F.col("id") == 39
    frame = spark.range(40, numPartitions=2).select(
        (index / 40).alias("x"),
        (index % 2).cast("double").alias("label"),
        F.when(last, None).otherwise(index % 2).alias("null label"),
        F.when(last, float("nan")).otherwise(index % 2).alias("nan label"),
        F.when(last, 0.5).otherwise(index % 2).alias("half label"),
        F.when(last, -1).otherwise(index % 2).alias("minus label"),
        F.when(last, 7).otherwise(index % 2).alias("seven label"),
        F.lit(1.0).alias("same label"),
        F.when(last, None).otherwise(index / 40).alias("null x"),
        F.when(last, float("nan")).otherwise(index / 40).alias("nan x"),
        F.when(last, F.array(F.lit(1.0))).otherwise(F.array(F.lit(1.0), F.lit(2.0))).alias("ragged"),
        F.lit("text").alias("text"),
        F.lit(True).alias("all"),
        F.lit(False).alias("none"),
        F.lit(b"no image").alias("bytes"),
        F.when(last, -1.0).otherwise(1.0).alias("minus w"),
        F.lit(0.0).alias("zero w"),
    )
    return frame.cache()


def regressor(**settings: Any) -> TorchRegressor:
    return TorchRegressor(**{"module": "mlp", "featuresCol": "x", "verbose": 0, "mlflow": "false", **settings})


def classifier(**settings: Any) -> TorchClassifier:
    return TorchClassifier(**{"module": "mlp", "featuresCol": "x", "verbose": 0, "mlflow": "false", **settings})


Case = tuple[Callable[..., Any], dict[str, Any], type[SparkDLError], str]

CASES: list[Case] = [
    (regressor, {"featuresCol": "y"}, DataError, "featuresCol='y' is not in the DataFrame"),
    (regressor, {"labelCol": "labels"}, DataError, "labelCol='labels' is not in the DataFrame, did you mean 'label'?"),
    (regressor, {"featuresCol": "text"}, DataError, "featuresCol='text' is string.*turn strings into numbers"),
    (regressor, {"predictionCol": "all"}, SettingError, "predictionCol='all' names a column that the DataFrame has"),
    (regressor, {"validationIndicatorCol": "x"}, DataError, "validationIndicatorCol='x' is double, not boolean"),
    (
        regressor,
        {"numProcs": 64},
        ClusterError,
        r"numProcs=64 needs 64 task slots, this cluster has 2: lower numProcs or create .*master\(\"local\[64\]\"\)",
    ),
    (regressor, {"metrics": ["acuracy"]}, SettingError, "acuracy"),
    (regressor, {"loss": "mean"}, SettingError, "loss='mean' is not known"),
    (regressor, {"optimizer": "adamm"}, SettingError, "optimizer='adamm' is not known"),
    (regressor, {"labelCol": "null label"}, DataError, "labelCol='null label' has 1 row with a null"),
    (regressor, {"labelCol": "nan label"}, DataError, "labelCol='nan label' has 1 row with NaN"),
    (regressor, {"featuresCol": "null x"}, DataError, "featuresCol='null x' has 1 row with a null.*fillValue"),
    (regressor, {"featuresCol": "nan x"}, DataError, "featuresCol='nan x' has 1 row with NaN"),
    (
        regressor,
        {"featuresCol": "ragged"},
        DataError,
        r"featuresCol='ragged' holds arrays .*: 2 \(39 rows\), 1 \(1 row\).*pad",
    ),
    (regressor, {"featuresCol": "bytes"}, DataError, "featuresCol='bytes' has 40 rows without an image"),
    (regressor, {"weightCol": "minus w"}, DataError, "weightCol='minus w' has the weight -1"),
    (regressor, {"weightCol": "zero w"}, DataError, "weightCol='zero w' is 0 in every row"),
    (regressor, {"validationIndicatorCol": "all"}, DataError, "validationIndicatorCol='all' is true in all 40 rows"),
    (
        regressor,
        {"validationIndicatorCol": "none"},
        DataError,
        "validationIndicatorCol='none' is true in none of the 40",
    ),
    (regressor, {"module": nn.Linear(3, 1)}, NetworkError, r"does not take its input features \(rows, 1\) float32"),
    (
        regressor,
        {"module": nn.Linear(1, 3)},
        NetworkError,
        r"returns \(3,\) for a row, and TorchRegressor predicts one",
    ),
    (
        regressor,
        {"dropLast": True},
        SettingError,
        "dropLast leaves out the only step: 40 rows are fewer than batchSize=256",
    ),
    (
        classifier,
        {"labelCol": "half label"},
        DataError,
        "labelCol='half label' has 1 row whose label is not a whole number",
    ),
    (classifier, {"labelCol": "minus label"}, DataError, "labelCol='minus label' has the label -1"),
    (classifier, {"labelCol": "seven label", "numClasses": 2}, DataError, "has the label 7, and 2 classes"),
    (classifier, {"labelCol": "same label"}, DataError, "labelCol='same label' has the label 1 in every row"),
    (classifier, {"module": nn.Linear(1, 5), "numClasses": 2}, NetworkError, r"returns \(5,\).*there are 2 classes"),
    (classifier, {"thresholds": [0.1, 0.2, 0.7]}, SettingError, "thresholds has 3 entries for 2 classes"),
]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("make", "settings", "kind", "sentence"), CASES)
def test_bad_input_is_one_sentence(
    good: DataFrame, make: Callable[..., Any], settings: dict[str, Any], kind: type[SparkDLError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as error:
        make(**settings).fit(good)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("clean")
def test_half_precision_without_gpus(good: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SettingError, match="precision='fp16' needs a GPU for each rank, and numProcs=2 on a local"):
        regressor(precision="fp16", numProcs=2).fit(good)


@pytest.mark.usefixtures("clean")
def test_too_few_rows(good: DataFrame) -> None:
    with pytest.raises(DataError, match="the DataFrame is empty"):
        regressor().fit(good.filter("x > 2"))
    with pytest.raises(
        SettingError, match="numProcs=2 is more than the 1 row to learn from: set numProcs to 1 or less"
    ):
        regressor(numProcs=2).fit(good.limit(1))
    with pytest.raises(SettingError, match="invalid numProcs=0: expected an integer >= 1"):
        regressor(numProcs=0)
    stage = regressor()
    with pytest.raises(SettingError, match="invalid numProcs=0: expected an integer >= 1"):
        stage.fit(good, {stage.numProcs: 0})


@pytest.mark.usefixtures("clean")
def test_batch_norm_with_one_row_on_a_rank(good: DataFrame) -> None:
    network = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(SettingError, match="step 2 has 2 rows over 2 ranks, one of them for rank 0.*syncBatchNorm"):
        regressor(module=network, numProcs=2, batchSize=19).fit(good)


@pytest.mark.usefixtures("clean")
def test_a_loss_that_is_not_finite(good: DataFrame) -> None:
    def logarithm(output: Any, target: Any) -> Any:
        return (output.sum(1) * 0 - 1).log()

    with pytest.raises(NetworkError, match="the loss is nan in epoch 1, step 1 of 1.*lower learningRate"):
        TorchEstimator(module="mlp", featuresCol="x", loss=logarithm, numProcs=2, verbose=0, mlflow="false").fit(good)
