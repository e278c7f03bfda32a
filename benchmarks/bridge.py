"""What scoring costs from Scala, beside the same from Python.

    .venv/bin/python benchmarks/bridge.py [--quick]

CPU seconds of the JVM and of Spark's Python workers together, for a million rows of 50 floats, as an array, as a vector
and as columns, through a small network, written to Spark's sink that keeps nothing. Python's transform and Scala's
take turns on one session and the same DataFrames; the JVM's model was saved by Python and loaded by
`sparkdl.SparkDL.load`. It needs the jar (`make jar`). The last line is JSON: `seconds` (medians by layout and language)
and `ratio` (Scala's over Python's by layout, and `scala`, the worst of them; less is better, 1.05 is the aim).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from transform import LAYOUTS, Score, numbers, reading, run, session, small

from sparkdl import TorchModel, jar_path

LANGUAGES = ("python", "scala")


def scala(spark: SparkSession, model: TorchModel, path: Path) -> Score:
    """Return the transform of the same model in Scala."""
    model.save(str(path))
    jvm: Any = spark._jvm
    loaded = jvm.sparkdl.SparkDL.load(str(path))
    return lambda frame: DataFrame(loaded.transform(frame._jdf), spark)


def measure(spark: SparkSession, rows: int, rounds: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return CPU seconds by layout and language: a list with one figure for each round."""
    frames = numbers(spark, rows, folder)
    trained = small(frames["array"])
    ways: dict[str, dict[str, Score]] = {}
    for layout in LAYOUTS:
        model = reading(trained, layout)
        ways[layout] = {"python": model.transform, "scala": scala(spark, model, folder / f"model-{layout}")}
    figures: dict[str, dict[str, list[float]]] = {layout: {way: [] for way in LANGUAGES} for layout in LAYOUTS}
    # The first round compiles the JVM's code and starts the workers; who comes first changes.
    for turn in range(rounds + 1):
        for layout in LAYOUTS:
            for way in LANGUAGES if turn % 2 else reversed(LANGUAGES):
                cpu, _ = run(ways[layout][way](frames[layout]), True)
                figures[layout][way] += [cpu] if turn else []
    return figures


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    """Print a table, then JSON."""
    seconds = {layout: {way: statistics.median(runs) for way, runs in ways.items()} for layout, ways in figures.items()}
    for layout, ways in figures.items():
        for way, runs in ways.items():
            print(f"{f'CPU s, {layout}, {way}':30} {[round(value, 2) for value in runs]}")
    ratio = {layout: ways["scala"] / ways["python"] for layout, ways in seconds.items()}
    ratio["scala"] = max(ratio.values())
    for name, value in ratio.items():
        print(f"{'ratio.' + name:30} {value:.3f}")
    shown = {layout: {way: round(value, 3) for way, value in ways.items()} for layout, ways in seconds.items()}
    print(json.dumps({"name": "bridge", "ratio": {k: round(v, 4) for k, v in ratio.items()}, "seconds": shown}))


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few rows and one round, to see that it runs")
    args = parser.parse_args()
    spark = session({"spark.driver.extraClassPath": jar_path()})
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as folder:
        report(measure(spark, 50_000 if args.quick else 1_000_000, 1 if args.quick else 7, Path(folder)))
    spark.stop()


if __name__ == "__main__":
    main()
