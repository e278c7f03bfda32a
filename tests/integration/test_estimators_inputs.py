"""Columns of every kind as inputs, and networks from where users keep them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchClassifier, TorchRegressor


def png(level: int, seed: int) -> bytes:
    """A noisy image of 8 x 8 that is as bright as `level`."""
    noise = np.random.default_rng(seed).integers(0, 30, (8, 8, 3))
    buffer = io.BytesIO()
    Image.fromarray((noise + level).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_images(spark: SparkSession) -> None:
    rows = [(png(200 * (i % 2), i), i % 2) for i in range(60)]
    frame = spark.createDataFrame(rows, "image binary, bright int").repartition(2)
    model = TorchClassifier(
        module="cnn",
        moduleParams={"channels": [4], "hidden": []},
        featuresCol="image",
        labelCol="bright",
        learningRate=0.02,
        batchSize=20,
        epochs=4,
        verbose=0,
    ).fit(frame)

    assert model.network is not None
    assert model.transform(frame).filter("prediction = bright").count() == 60
    assert model.numFeatures == 3 * 8 * 8


@pytest.fixture(scope="module")
def kinds(spark: SparkSession) -> DataFrame:
    """The same two numbers as columns, an array and a vector; one array has a null, another is short."""
    rng = np.random.default_rng(1)
    rows: list[Any] = []
    for i, (a, b) in enumerate(rng.random((80, 2)).tolist()):
        rows.append((a, b, [a, b], Vectors.dense(a, b), [None if i == 3 else a, b], [a, b][: 1 + (i != 5)], a + b))
    names = ["a", "b", "list", "vec", "holes", "short", "y"]
    return spark.createDataFrame(rows, names).repartition(2).cache()


def fit(frame: DataFrame, **settings: Any) -> Any:
    return TorchRegressor(
        module="mlp", moduleParams={"hidden": []}, labelCol="y", batchSize=16, learningRate=0.1, verbose=0, **settings
    ).fit(frame)


def test_one_row_is_the_same_from_columns_an_array_or_a_vector(kinds: DataFrame) -> None:
    losses = {
        fit(kinds, **named).history[0]["loss"]
        for named in ({"featuresCols": ["a", "b"]}, {"featuresCol": "list"}, {"featuresCol": "vec"})
    }

    assert max(losses) - min(losses) < 1e-5


def test_holes_and_short_arrays_are_filled_where_that_is_asked_for(kinds: DataFrame) -> None:
    filled = fit(kinds, featuresCol="holes", fillValue=0.0)
    padded = fit(kinds, featuresCol="short", padValue=0.0)

    assert filled.history[0]["rows"] == padded.history[0]["rows"] == 80
    assert filled.transform(kinds).filter(F.col("prediction").isNull()).count() == 0
    assert padded.transform(kinds).filter(F.col("prediction").isNull()).count() == 0


def test_names_of_columns_may_hold_anything(kinds: DataFrame) -> None:
    odd = kinds.select(F.col("a").alias("a.b"), F.col("b").alias("ö $`x"), F.col("y").alias("the label"))
    model = TorchRegressor(
        module="mlp", featuresCols=["a.b", "ö $`x"], labelCol="the label", predictionCol="p.q", verbose=0
    ).fit(odd)

    assert model.transform(odd).select("`p.q`").count() == 80


PROGRAM = """
import sys
import torch
from pyspark.sql import SparkSession, functions as F
from sparkdl import TorchRegressor, TorchRegressionModel


class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)


def squared(output, target):
    return (output - target).square().mean(1)


if __name__ == "__main__":
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    frame = spark.range(200, numPartitions=2).select(F.rand(1).alias("a"), F.rand(2).alias("b"))
    frame = frame.withColumn("label", F.col("a") + F.col("b")).cache()
    model = TorchRegressor(
        module=Net, moduleParams={"width": 4}, featuresCols=["a", "b"], loss=squared, numProcs=2, epochs=2, verbose=0
    ).fit(frame)
    model.save(sys.argv[1])
    loaded = TorchRegressionModel.load(sys.argv[1])
    both = model.transform(frame).withColumnRenamed("prediction", "before")
    gap = loaded.transform(both).select(F.max(F.abs(F.col("before") - F.col("prediction")))).first()[0]
    print("ROWS", [row["rows"] for row in model.history], "GAP", gap)
    spark.stop()
"""


def test_a_network_of_a_script_trains_and_is_saved(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ.copy(),
    )

    assert "ROWS [200, 200] GAP 0.0" in done.stdout, done.stdout + done.stderr[-3000:]
