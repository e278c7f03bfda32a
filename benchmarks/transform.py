"""What scoring costs beside Spark's own ways, and how near it comes to torch on tensors in memory.

    .venv/bin/python benchmarks/transform.py [--quick] [--by-rows] [--only array,mlp512] [--short]

All figures come from one run, interleaved, as medians. CPU seconds are those of the JVM and of the Python workers
together, for a million rows of 50 floats through a small network, written to Spark's sink that keeps nothing, all
columns kept, with Spark's own settings; the other ways fail with them where a scan has vectors, and get `--by-rows`
there. The last line is JSON: `cpu_s_per_m` (`array`, `columns`, `vector`, each `ours` and `predict_batch_udf`) and
`ratio` (`array`, `columns`, `vector`: our CPU over that of predict_batch_udf, less is better; `mlp512`, `cnn`: our
throughput over that of plain torch in memory with a thread for each core). `--only` measures some of these five,
`--short` leaves out what no ratio needs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from pyspark.ml.functions import array_to_vector, predict_batch_udf, vector_to_array
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType
from torch import nn

from sparkdl import TorchEstimator, TorchModel

CORES = 2
WIDTH = 50
NAMES = [f"x{index}" for index in range(WIDTH)]
LAYOUTS, NETWORKS = ("array", "columns", "vector"), ("mlp512", "cnn")
SIDE = 64
# Spark 4.2's own setting, on by default, hands a scan's columns to Python functions as they lie in memory.
COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
Score = Callable[[DataFrame], DataFrame]


def trained(module: str, params: dict[str, Any], frame: DataFrame) -> TorchModel:
    """Return a model of one epoch over a few rows; its speed does not depend on what it has learned."""
    estimator = TorchEstimator(module=module, moduleParams=params, backend="local", batchSize=64, verbose=0)
    return estimator.fit(frame.limit(64))


def numbers(spark: SparkSession, rows: int, folder: Path) -> dict[str, DataFrame]:
    """Write random rows of 50 floats and an id as an array, as columns and as vectors, and return them."""
    base = spark.range(rows, numPartitions=4)
    base = base.select("id", *(F.rand(seed=i).cast("float").alias(name) for i, name in enumerate(NAMES)))
    base.write.parquet(str(folder / "columns"))
    columns = spark.read.parquet(str(folder / "columns"))
    array = F.array(*NAMES)
    columns.select("id", array.alias("features")).write.parquet(str(folder / "array"))
    columns.select("id", array_to_vector(array).alias("features")).write.parquet(str(folder / "vector"))
    return {name: spark.read.parquet(str(folder / name)) for name in ("array", "columns", "vector")}


def write_images(spark: SparkSession, rows: int, folder: Path) -> DataFrame:
    """Write Spark's image structs of random 64x64 images and return them."""

    def images(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            generator = np.random.default_rng(int(batch["id"].iloc[0]))
            yield pd.DataFrame({"id": batch["id"], "data": [generator.bytes(3 * SIDE * SIDE) for _ in batch["id"]]})

    size = ", ".join(f"'{name}', {value}" for name, value in (("height", SIDE), ("width", SIDE), ("nChannels", 3)))
    struct = f"named_struct('origin', '', {size}, 'mode', 16, 'data', data) as image"
    data = spark.range(rows, numPartitions=4).mapInPandas(images, "id long, data binary")
    data.selectExpr("id", struct).write.parquet(str(folder / "images"))
    return spark.read.parquet(str(folder / "images"))


def as_array(layout: str) -> Column:
    """Return the features as the array of floats that the other ways need."""
    if layout == "columns":
        return F.array(*NAMES)
    return vector_to_array("features", "float32") if layout == "vector" else F.col("features")


def reading(model: TorchModel, layout: str) -> TorchModel:
    """Return the model, for features in that layout."""
    model = model.copy()
    if layout == "columns":
        model.clear(model.featuresCol)
        model.setFeaturesCols(NAMES)
    return model


def small(frame: DataFrame) -> TorchModel:
    """Return the small network that scores the rows of `numbers`; the DataFrame is that of arrays."""
    return trained("mlp", {"hidden": [64], "outputs": 1}, frame.withColumn("label", F.lit(0.0)))


def batch_udf(network: nn.Module, layout: str) -> Score:
    """Return Spark's predict_batch_udf."""

    def make() -> Callable[[np.ndarray], np.ndarray]:
        torch.set_num_threads(1)

        def predict(rows: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return network(torch.from_numpy(rows))[:, 0].numpy()

        return predict

    function = predict_batch_udf(make, return_type=DoubleType(), batch_size=1024, input_tensor_shapes=[[WIDTH]])
    return lambda frame: frame.withColumn("prediction", function(as_array(layout)))


def pandas_iterator(network: nn.Module, layout: str) -> Score:
    """Return a pandas function over an iterator of batches."""

    def predict(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        torch.set_num_threads(1)
        for batch in batches:
            with torch.inference_mode():
                yield pd.Series(network(torch.from_numpy(np.stack(batch.to_list())))[:, 0].numpy())

    predict.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    function = F.pandas_udf(predict, "double")
    return lambda frame: frame.withColumn("prediction", function(as_array(layout)))


def mlflow_udf(network: nn.Module, layout: str, spark: SparkSession, folder: Path) -> Score:
    """Return mlflow's spark_udf of the network."""
    import mlflow

    class Predicts(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            torch.set_num_threads(1)
            with torch.inference_mode():
                return network(torch.from_numpy(np.stack(model_input.iloc[:, 0].to_list())))[:, 0].numpy()

    path = str(folder / f"mlflow-{layout}")
    mlflow.pyfunc.save_model(path, python_model=Predicts(), pip_requirements=[])
    function = mlflow.pyfunc.spark_udf(spark, path, result_type="double", env_manager="local")
    return lambda frame: frame.withColumn("prediction", function(as_array(layout)))


def cpu_seconds() -> float:
    """Return the CPU seconds of the JVM, of Spark's Python workers and of those that have ended."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        own = times.user + times.system
        # The JVM's other children are shells that ended long ago; the daemon's are workers.
        total += own if child.name() == "java" else own + times.children_user + times.children_system
    return total


def run(frame: DataFrame, columnar: bool) -> tuple[float, float]:
    """Compute all columns of a DataFrame and return seconds of CPU and of the clock."""
    frame.sparkSession.conf.set(COLUMNAR, str(columnar).lower())
    cpu, began = cpu_seconds(), time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return cpu_seconds() - cpu, time.perf_counter() - began


def in_memory(network: nn.Module, rows: torch.Tensor, batch: int, seconds: float) -> float:
    """Return rows per second of plain torch with a thread for each core."""
    torch.set_num_threads(CORES)
    seen, began = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - began < seconds:
            for start in range(0, len(rows), batch):
                network(rows[start : start + batch])
            seen += len(rows)
    return seen / (time.perf_counter() - began)


def ways_of(spark: SparkSession, model: TorchModel, layout: str, short: bool, folder: Path) -> dict[str, Score]:
    """Return the ways to score rows in that layout, by name."""
    network = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 1)).eval()
    needed = {"ours": reading(model, layout).transform, "predict_batch_udf": batch_udf(network, layout)}
    if short:
        return needed
    return {
        "read only": lambda frame: frame,
        **needed,
        "pandas_udf, iterator": pandas_iterator(network, layout),
        "mlflow spark_udf": mlflow_udf(network, layout, spark, folder),
    }


def measure_cpu(
    spark: SparkSession, frames: dict[str, DataFrame], rows: int, rounds: int, args: argparse.Namespace, folder: Path
) -> Any:
    """Return CPU seconds per million rows by layout and way: a list with one figure for each round."""
    model = small(frames["array"])
    ways = {layout: ways_of(spark, model, layout, args.short, folder) for layout in LAYOUTS if layout in args.only}
    figures: Any = {layout: {way: [] for way in ways[layout]} for layout in ways}
    # The first round compiles the JVM's code and starts the workers.
    for turn in range(rounds + 1):
        for layout, scores in ways.items():
            for way, score in scores.items():
                # Where vectors stand in the scan, Spark's columnar hand-over fails for the other ways.
                columnar = not args.by_rows and (layout != "vector" or way in ("ours", "read only"))
                spark.conf.set(COLUMNAR, str(columnar).lower())
                cpu, _ = run(score(frames[layout]), columnar)
                if turn:
                    figures[layout][way].append(cpu / rows * 1e6)
    return figures


def measure_throughput(
    frame: DataFrame, model: TorchModel, tensors: torch.Tensor, batches: tuple[int, ...], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Return rows per second of our transform and of plain torch, at the batch size with which torch is fastest."""
    rows, scored = frame.count(), model.transform(frame)
    best = max(batches, key=lambda batch: in_memory(model.network, tensors, batch, seconds / 4))
    figures: dict[str, list[float]] = {"ours": [], "in memory": []}
    for turn in range(rounds + 1):
        speeds = {"ours": rows / run(scored, True)[1], "in memory": in_memory(model.network, tensors, best, seconds)}
        for way, speed in speeds.items():
            figures[way] += [speed] if turn else []
    return figures


def measure(spark: SparkSession, args: argparse.Namespace, folder: Path) -> tuple[Any, Any]:
    """Return CPU seconds by layout and way, and rows per second by network and way."""
    rows, times, images = (50_000, 1, 500) if args.quick else (1_000_000, 3, 24_000)
    rounds, seconds = (1, 0.5) if args.quick else (3, 5.0)
    frames = numbers(spark, rows, folder)
    cpu = measure_cpu(spark, frames, rows, rounds, args, folder)
    speed: dict[str, Any] = {}
    if "mlp512" in args.only:
        frame = reduce(DataFrame.unionAll, [frames["array"]] * times)
        wide = trained("mlp", {"hidden": [512, 512], "outputs": 1}, frame.withColumn("label", F.lit(0.0)))
        batches = (256, 1024, 4096)
        speed["mlp512"] = measure_throughput(frame, wide, torch.rand(100_000, WIDTH), batches, rounds, seconds)
    if "cnn" in args.only:
        photos = write_images(spark, images, folder)
        labelled = photos.withColumnRenamed("image", "features").withColumn("label", F.lit(0.0))
        cnn = trained("cnn", {"channels": [16, 32], "hidden": [64], "outputs": 1}, labelled).setFeaturesCol("image")
        tensors = torch.rand(1024, 3, SIDE, SIDE)
        speed["cnn"] = measure_throughput(photos, cnn, tensors, (32, 128, 512), rounds, seconds)
    return cpu, speed


def report(cpu: Any, speed: Any) -> None:
    """Print a table, then JSON."""
    median = {layout: {way: statistics.median(runs) for way, runs in ways.items()} for layout, ways in cpu.items()}
    for layout, ways in cpu.items():
        for way, runs in ways.items():
            print(f"{f'CPU s per million rows, {layout}, {way}':60} {[round(value, 2) for value in runs]}")
    speeds = {name: {way: statistics.median(runs) for way, runs in ways.items()} for name, ways in speed.items()}
    for name, ways in speed.items():
        for way, runs in ways.items():
            print(f"{f'rows/s, {name}, {way}':60} {[round(value) for value in runs]}")
    ratio = {layout: ways["ours"] / ways["predict_batch_udf"] for layout, ways in median.items()}
    ratio |= {name: ways["ours"] / ways["in memory"] for name, ways in speeds.items()}
    for name, value in ratio.items():
        print(f"{'ratio.' + name:60} {value:.3f}")
    shown = {
        layout: {way: round(ways[way], 3) for way in ("ours", "predict_batch_udf")} for layout, ways in median.items()
    }
    print(json.dumps({"name": "transform", "cpu_s_per_m": shown, "ratio": {k: round(v, 4) for k, v in ratio.items()}}))


def session(settings: dict[str, str]) -> SparkSession:
    """Return a session of a task for each core, with more settings."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config(map=settings)
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few rows and one round, to see that it runs")
    parser.add_argument("--by-rows", action="store_true", help=f"{COLUMNAR}=false for all ways")
    parser.add_argument("--only", default=",".join(LAYOUTS + NETWORKS), help="some of %(default)s")
    parser.add_argument("--short", action="store_true", help="only ours and what the ratios compare it with")
    args = parser.parse_args()
    args.only = args.only.split(",")
    unknown = sorted(set(args.only) - {*LAYOUTS, *NETWORKS})
    if unknown:
        parser.error(f"--only knows {', '.join(LAYOUTS + NETWORKS)}, not {', '.join(unknown)}")
    spark = session({})
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as folder:
        report(*measure(spark, args, Path(folder)))
    spark.stop()


if __name__ == "__main__":
    main()
