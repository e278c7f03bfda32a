"""Streams that are stopped in the middle and go on from their checkpoint: each row is scored once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import TorchModel
from sparkdl.network import check, resolve
from sparkdl.schema import INPUT, SCALAR, DataSchema, Field

FILES, ROWS = 6, 40
SCHEMA = DataSchema((Field("value", INPUT, SCALAR, ("value",), "float32", (1,)),))


@pytest.fixture(scope="module")
def model() -> TorchModel:
    made = resolve(nn.Sequential(nn.Linear(1, 3), nn.Tanh()), {}, SCHEMA)
    model = TorchModel._create(made.module, made.reference, SCHEMA, check(made.module, SCHEMA))
    return model.setFeaturesCol("value")


def scored_in_two_runs(stream: DataFrame, folder: Path, rows: int, more: Callable[[], None]) -> DataFrame:
    """Write a stream, stop it when it has written that many rows, call for `more`, and let them follow."""
    spark, sink = stream.sparkSession, str(folder / "out")
    options = {"path": sink, "checkpointLocation": str(folder / "checkpoint")}

    def rows_of_sink() -> DataFrame:
        # A rate stream's first batch may have no rows, and no file then tells the schema.
        return spark.read.schema(stream.schema).parquet(sink)

    def written() -> int:
        return rows_of_sink().count() if (folder / "out" / "_spark_metadata" / "0").exists() else 0

    first = stream.writeStream.options(**options).trigger(processingTime="0 seconds").start()
    limit = time.monotonic() + 180
    while written() < rows:
        assert first.isActive, first.exception()
        assert time.monotonic() < limit, "the stream has not come that far in 180 s"
        time.sleep(0.05)
    first.stop()
    assert not first.isActive
    before = written()
    more()
    second = stream.writeStream.options(**options).trigger(availableNow=True).start()
    assert second.awaitTermination(180)
    result = rows_of_sink()
    assert result.count() > before
    return result


def check_rows(result: DataFrame, model: TorchModel) -> list[int]:
    """Return the values of the rows; each has the network's own prediction."""
    rows = sorted(result.select("value", "prediction").collect(), key=lambda row: row["value"])
    values = [row["value"] for row in rows]
    with torch.no_grad():
        expected = model.network(torch.tensor(values, dtype=torch.float32)[:, None])
    torch.testing.assert_close(torch.tensor([row["prediction"] for row in rows]), expected, rtol=1e-4, atol=1e-5)
    return values


def test_file_stream_restarted_in_the_middle(spark: SparkSession, model: TorchModel, tmp_path: Path) -> None:
    source = str(tmp_path / "in")

    def add_files(numbers: Iterable[int]) -> None:
        for number in numbers:
            rows = spark.range(number * ROWS, (number + 1) * ROWS, numPartitions=1)
            rows.select(F.col("id").alias("value"), F.lit("kept").alias("a.b")).write.mode("append").parquet(source)

    add_files(range(FILES // 2))
    stream = spark.readStream.schema("value long, `a.b` string").option("maxFilesPerTrigger", 1).parquet(source)
    result = scored_in_two_runs(model.transform(stream), tmp_path, ROWS, lambda: add_files(range(FILES // 2, FILES)))
    assert check_rows(result, model) == list(range(FILES * ROWS))
    assert result.columns == ["value", "a.b", "prediction"]


def test_rate_stream_restarted_in_the_middle(spark: SparkSession, model: TorchModel, tmp_path: Path) -> None:
    stream = spark.readStream.format("rate").option("rowsPerSecond", 50).option("numPartitions", 2).load()
    # The source has rows for each whole second since its start, which the checkpoint keeps.
    result = scored_in_two_runs(model.transform(stream), tmp_path, 20, lambda: time.sleep(2))
    values = check_rows(result, model)
    assert values == list(range(len(values)))
