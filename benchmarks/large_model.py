"""What a network of 2 GiB costs to save, load and score with: seconds and memory of driver and workers.

    .venv/bin/python benchmarks/large_model.py [--gib 2]

One layer has all the weights, so that every row reads all of them. Memory is the proportional share (PSS) of each of
Spark's Python workers: they map one file, so together they should hold the weights once. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import TorchModel
from sparkdl.network import Reference
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

ROWS = 64


def model_of(gib: float) -> tuple[TorchModel, int]:
    """Return a model whose weights have that many GiB, and the width of its rows."""
    width = math.isqrt(int(gib * (1 << 30)) // 4)
    network = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    schema = DataSchema((Field("features", INPUT, ARRAY, ("features",), "float32", (width,)),))
    return TorchModel._create(network, Reference("structure"), schema, [(1,)]), width


def saved(gib: float, path: str) -> tuple[float, int]:
    """Save a model of that size, and forget it; return the seconds that saving takes, and the width of its rows."""
    model, width = model_of(gib)
    return timed(lambda: model.save(path))[0], width


def workers() -> list[float]:
    """Return MiB of each Python process of Spark that holds a tenth of a GiB or more."""
    sizes = []
    for child in psutil.Process().children(recursive=True):
        try:
            sizes.append(child.memory_full_info().pss / (1 << 20) if child.name() != "java" else 0.0)
        except psutil.Error:
            continue
    return sorted((round(size, 1) for size in sizes if size > 100), reverse=True)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that something takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return round(time.perf_counter() - began, 2), result


def measure(spark: SparkSession, gib: float, folder: Path) -> dict[str, Any]:
    """Save and load the model, score the same rows twice and compare them with the network's own output."""
    path = str(folder / "model")
    saving, width = saved(gib, path)
    loading, model = timed(lambda: TorchModel.load(path))
    rows: DataFrame = spark.range(ROWS, numPartitions=2).select(
        "id", F.transform(F.sequence(F.lit(1), F.lit(width)), lambda i: ((i + F.col("id")) % 7).cast("float"))
    )
    rows = rows.toDF("id", "features")
    sending, scored = timed(lambda: model.transform(rows).select("id", "prediction"))
    first, got = timed(scored.collect)
    second, _ = timed(scored.collect)
    inputs = (torch.arange(1, width + 1) + torch.tensor([[row["id"]] for row in got])) % 7
    with torch.no_grad():
        expected = model.network(inputs.float())[:, 0]
    torch.testing.assert_close(torch.tensor([row["prediction"] for row in got]).float(), expected, rtol=1e-3, atol=1e-3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "name": "large_model",
        "seconds": {"save": saving, "load": loading, "send": sending, "first": first, "second": second},
        "mib": {"weights": round(gib * 1024), "workers": workers(), "driver_peak": round(peak)},
    }


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=2.0)
    args = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as folder:
        result = measure(spark, args.gib, Path(folder))
    for kind in ("seconds", "mib"):
        for name, value in result[kind].items():
            print(f"{kind + ', ' + name:30} {value}")
    print(json.dumps(result))
    spark.stop()


if __name__ == "__main__":
    main()
