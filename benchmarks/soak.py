"""Whether memory stays flat while a stream is scored for a long time.

    .venv/bin/python benchmarks/soak.py [--minutes 30]

A rate stream goes through a model. After a tenth of the time, when everything has been loaded, memory of the
Python processes that run Spark's workers and of the JVM's heap after a collection are taken as the base. The last line
is JSON: `ratio` says how much more they have at the end (medians of the first and the last third of what follows),
`rows` and `once` whether each row was scored once. The program ends with 1 if Python's memory has grown by a tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchEstimator, TorchModel

ROWS_PER_SECOND = 2000
WIDTH = 50
GROWTH = 1.1


def trained(spark: SparkSession) -> TorchModel:
    """Return a model of one epoch over a few rows."""
    row = F.array(*(F.rand(seed=i).cast("float") for i in range(WIDTH))).alias("features")
    rows = spark.range(64).select(row, F.lit(0.0).alias("label"))
    return TorchEstimator(module="mlp", moduleParams={"hidden": [64]}, backend="local", verbose=0).fit(rows)


def python_memory() -> float:
    """Return MiB that Spark's Python processes hold for themselves."""
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            # Shared pages, such as those of torch's libraries, are counted by their share.
            total += child.memory_full_info().pss if child.name() != "java" else 0
        except psutil.Error:
            continue
    return total / (1 << 20)


def heap(spark: SparkSession) -> float:
    """Return MiB of the JVM's heap that are in use after a collection."""
    runtime = spark._jvm.java.lang.Runtime.getRuntime()
    spark._jvm.java.lang.System.gc()
    return float(runtime.totalMemory() - runtime.freeMemory()) / (1 << 20)


def growth(samples: list[float]) -> float:
    """Return the median of the last third over that of the first."""
    third = max(1, len(samples) // 3)
    return statistics.median(samples[-third:]) / statistics.median(samples[:third])


def soak(spark: SparkSession, seconds: float, folder: Path) -> dict[str, object]:
    """Score a stream for so long and return what was seen."""
    source = spark.readStream.format("rate").option("rowsPerSecond", ROWS_PER_SECOND).load()
    features = F.array(*((F.col("value") % (i + 2)).cast("float") for i in range(WIDTH)))
    scored = trained(spark).transform(source.withColumn("features", features)).select("value", "prediction")
    options = {"path": str(folder / "out"), "checkpointLocation": str(folder / "checkpoint")}
    query = scored.writeStream.options(**options).trigger(processingTime="1 second").start()
    began, python, java = time.monotonic(), [], []
    while time.monotonic() - began < seconds:
        time.sleep(max(1.0, seconds / 100))
        if not query.isActive:
            raise SystemExit(f"the stream has ended: {query.exception()}")
        if time.monotonic() - began < seconds / 10:
            continue
        python.append(python_memory())
        java.append(heap(spark))
        print(f"{time.monotonic() - began:7.0f} s  Python {python[-1]:7.1f} MiB  heap {java[-1]:7.1f} MiB", flush=True)
    query.stop()
    result = spark.read.parquet(str(folder / "out"))
    seen = result.agg(F.count("*"), F.countDistinct("value"), F.max("value")).first()
    assert seen is not None
    return {
        "name": "soak",
        "ratio": {"python": round(growth(python), 4), "heap": round(growth(java), 4)},
        "seconds": {"total": round(time.monotonic() - began, 1)},
        "rows": seen[0],
        "once": seen[0] == seen[1] == seen[2] + 1,
    }


def main() -> None:
    """Score, watch, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory(prefix="sparkdl-soak-") as folder:
        result = soak(spark, args.minutes * 60, Path(folder))
    print(json.dumps(result))
    spark.stop()
    ratio = result["ratio"]
    assert isinstance(ratio, dict)
    if ratio["python"] > GROWTH or not result["once"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
