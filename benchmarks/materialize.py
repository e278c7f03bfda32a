"""What writing the rows of a fit costs, beside Spark's own Parquet writer on the same DataFrame.

    .venv/bin/python benchmarks/materialize.py [--quick] [--rounds 5]

A million rows of 50 floats and a label, read from Parquet, as 50 columns and as one array column, on local[2]. CPU
seconds are those of the JVM and of the Python workers together, medians of interleaved runs; the first runs, which
start the workers, do not count. Ours packs the rows and counts nulls, NaN, shapes and ranges on the way. The last
line is JSON: `ratio` has our CPU seconds over those of Spark's writer, for `columns` and `array`; less is better.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from transform import CORES, NAMES, cpu_seconds

from sparkdl.data.write import choose_folder, materialize, schema_of
from sparkdl.spark.facts import SessionFacts


def frames(spark: SparkSession, rows: int, folder: Path) -> dict[str, DataFrame]:
    """Write random rows as columns and as an array, and return them."""
    base = spark.range(rows, numPartitions=4).select((F.col("id") % 10).cast("float").alias("label"), "id")
    base = base.select("label", *(F.rand(seed=place).cast("float").alias(name) for place, name in enumerate(NAMES)))
    base.write.parquet(str(folder / "columns"))
    columns = spark.read.parquet(str(folder / "columns"))
    columns.select("label", F.array(*NAMES).alias("features")).write.parquet(str(folder / "array"))
    return {name: spark.read.parquet(str(folder / name)) for name in ("columns", "array")}


def ours(frame: DataFrame, layout: str, folder: Path) -> int:
    """Write packed rows, and return how many there are."""
    columns = tuple(NAMES) if layout == "columns" else ("features",)
    schema = schema_of(frame.schema, inputs=[("features", columns)], labels=["label"], weight=None)
    with choose_folder(frame.sparkSession, SessionFacts.read(frame.sparkSession), str(folder)) as place:
        return materialize(frame, schema, place).train.rows


def by_spark(frame: DataFrame, folder: Path) -> None:
    frame.write.mode("overwrite").parquet(str(folder / "spark"))


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of CPU and of the clock."""
    cpu, began = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - began


def measure(spark: SparkSession, rows: int, rounds: int, folder: Path) -> dict[str, list[tuple[float, float]]]:
    data = frames(spark, rows, folder)
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in range(rounds + 2):
        for layout, frame in data.items():
            ways = {
                "read only": lambda frame=frame: frame.write.format("noop").mode("overwrite").save(),
                "Spark's Parquet": lambda frame=frame: by_spark(frame, folder),
                "ours": lambda frame=frame, layout=layout: ours(frame, layout, folder),
            }
            for name, work in ways.items():
                one = measured(work)
                if turn > 1:
                    found.setdefault(f"{layout}, {name}", []).append(one)
    for layout, frame in data.items():
        if (written := ours(frame, layout, folder)) != rows:
            raise SystemExit(f"{written} of {rows} rows of {layout} were written")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows and rounds, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured")
    arguments = parser.parse_args()
    rows, rounds = (20_000, 1) if arguments.quick else (1_000_000, arguments.rounds)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as folder:
        found = measure(spark, rows, rounds, Path(folder))
    spark.stop()
    cpu = {name: statistics.median(one[0] for one in runs) for name, runs in found.items()}
    seconds = {name: statistics.median(one[1] for one in runs) for name, runs in found.items()}
    print(f"{'data and writer':28} {'CPU s':>7} {'s':>7}  CPU s of each run")
    for name, runs in found.items():
        print(f"{name:28} {cpu[name]:7.2f} {seconds[name]:7.2f}  {[round(one[0], 2) for one in runs]}")
    ratio = {layout: cpu[f"{layout}, ours"] / cpu[f"{layout}, Spark's Parquet"] for layout in ("columns", "array")}
    shown = {name: round(value, 3) for name, value in cpu.items()}
    print(json.dumps({"name": "materialize", "ratio": {k: round(v, 3) for k, v in ratio.items()}, "seconds": shown}))


if __name__ == "__main__":
    main()
