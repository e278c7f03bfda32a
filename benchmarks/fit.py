"""How long a fit takes, how soon ranks meet, and how fast they train beside loops written by hand.

    .venv/bin/python benchmarks/fit.py [--quick] [--only start fit steady small]

All figures come from one run, alternating, as medians. The last line is JSON: `ratio.first_allreduce` (ours over
TorchDistributor, less is better), `ratio.steady` (one rank over a loop in memory), `ratio.steady_2` (two ranks
over DistributedDataParallel) and `ratio.silent_2` (two ranks over two that do not talk), `ratio.small`,
`ratio.small_2` and `ratio.silent_2_small`, the same for a network of one hidden layer of 64, and `seconds`: by
phase of the two fits, and from the call of a second fit in the same session to the end of its first step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl import HorovodRunner, TorchRegressor
from sparkdl.train import Callback, TrainState

HAND_LOOP = Path(__file__).parent / "baselines" / "hand_loop.py"


@dataclass(frozen=True)
class Network:
    """Hidden layers of an MLP, and the rows of a step over all ranks."""

    hidden: tuple[int, ...]
    batch: int


LARGE, SMALL = Network((512, 512), 4096), Network((64,), 2048)


def first_allreduce_horovod() -> float:
    """Join Horovod, sum once, return the time of day."""
    import time

    import horovod.torch as hvd
    import torch

    hvd.init()
    hvd.allreduce(torch.ones(1))
    return time.time()


def first_allreduce_torch() -> float:
    """Join torch.distributed, sum once, return the time of day."""
    import time

    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    dist.all_reduce(torch.ones(1))
    at = time.time()
    # A rank that ends with its group open may abort, and the other one waits for it.
    dist.destroy_process_group()
    return at


def measure_start(rounds: int) -> tuple[list[float], list[float]]:
    """Return seconds from the call to the first all-reduce: ours, TorchDistributor's."""
    ours, theirs = [], []
    for _ in range(rounds):
        began = time.time()
        ours.append(HorovodRunner(np=2).run(first_allreduce_horovod) - began)
        began = time.time()
        distributor = TorchDistributor(num_processes=2, local_mode=False, use_gpu=False)
        theirs.append(distributor.run(first_allreduce_torch) - began)
    return ours, theirs


def frame(spark: SparkSession, rows: int, columns: int) -> DataFrame:
    """Return rows of random doubles with a label that is their sum, cached, in 4 partitions."""
    numbers = spark.range(rows, numPartitions=4)
    for index in range(columns):
        numbers = numbers.withColumn(f"x{index}", F.rand(seed=index).cast("float"))
    names = [f"x{index}" for index in range(columns)]
    result = numbers.select(*names, sum(F.col(name) for name in names).alias("label")).cache()
    result.count()
    return result


class FirstStep(Callback):
    """Writes down the time of day at the end of the first step."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_step_end(self, state: TrainState) -> None:
        if state.rank == 0 and state.step == 1:
            Path(self.path).write_text(repr(time.time()))


def measure_first_step(df: DataFrame) -> float:
    """Return seconds from the call of a fit to the end of its first step on 2 ranks."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "first-step"
        estimator = TorchRegressor(
            featuresCols=[name for name in df.columns if name != "label"],
            module="mlp",
            moduleParams={"hidden": [64]},
            numProcs=2,
            callbacks=[FirstStep(str(note))],
            verbose=0,
        )
        began = time.time()
        estimator.fit(df)
        return float(note.read_text()) - began


def measure_fit(df: DataFrame, epochs: int, batch: int) -> dict[str, float]:
    """Fit a small network on 2 ranks and return the seconds of each phase and in all."""
    estimator = TorchRegressor(
        featuresCols=[name for name in df.columns if name != "label"],
        module="mlp",
        moduleParams={"hidden": [64]},
        epochs=epochs,
        batchSize=batch,
        numProcs=2,
        verbose=0,
    )
    began = time.perf_counter()
    model = estimator.fit(df)
    total = time.perf_counter() - began
    rows = df.count()
    assert all(epoch["rows"] == rows for epoch in model.history), "an epoch has not seen every row"
    return {**model.fitSeconds, "total": total}


def hand_loop(network: Network, ranks: int, rows: int, epochs: int, *more: str) -> float:
    """Return rows per second of the loop written by hand, median of the epochs after the first."""
    command = [
        sys.executable,
        str(HAND_LOOP),
        "--ranks",
        str(ranks),
        "--rows",
        str(rows),
        "--epochs",
        str(epochs),
        "--batch",
        str(network.batch),
        "--hidden",
        *map(str, network.hidden),
        *more,
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    return statistics.median(json.loads(out.splitlines()[-1])[1:])


def our_loop(df: DataFrame, network: Network, ranks: int, epochs: int) -> float:
    """Return rows per second of a fit's epochs, median of those after the first."""
    model = TorchRegressor(
        featuresCols=[name for name in df.columns if name != "label"],
        module="mlp",
        moduleParams={"hidden": list(network.hidden)},
        epochs=epochs,
        batchSize=network.batch,
        numProcs=ranks,
        metrics=[],
        verbose=0,
    ).fit(df)
    return statistics.median(epoch["rows_per_second"] for epoch in list(model.history)[1:])


def median_phases(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each phase."""
    return {phase: round(statistics.median(run.get(phase, 0.0) for run in runs), 3) for phase in runs[0]}


def show(name: str, values: list[float], digits: int = 2) -> None:
    """Print a row of the table."""
    print(f"{name:40} {[round(value, digits) if digits else round(value) for value in values]}", flush=True)


def part_start(spark: SparkSession, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure how soon ranks meet; return ratios and seconds."""
    ours, theirs = measure_start(rounds)
    show("first all-reduce, s, ours", ours)
    show("first all-reduce, s, TorchDistributor", theirs)
    ratio = {
        "first_allreduce": statistics.median(ours) / statistics.median(theirs),
        "first_allreduce_cold": ours[0] / theirs[0],
    }
    seconds = {
        "first_allreduce_ours": statistics.median(ours),
        "first_allreduce_torch_distributor": statistics.median(theirs),
    }
    return ratio, seconds


def part_fit(spark: SparkSession, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the two fits by phase, and a second fit to its first step; return no ratio, and seconds."""
    small = frame(spark, 20_000, 10)
    small_runs = [measure_fit(small, 2, 256) for _ in range(rounds + 1)]
    first_steps = [measure_first_step(small) for _ in range(rounds)]
    large = frame(spark, 1_000_000, 50)
    large_runs = [measure_fit(large, 3, 2048) for _ in range(rounds)]
    for name, runs in (("fit 20,000 x 10, 2 epochs, s", small_runs), ("fit 1M x 50, 3 epochs, s", large_runs)):
        show(name, [run["total"] for run in runs])
        print(f"{'':40} median by phase {median_phases(runs)}")
    show("a later fit to its first step, s", first_steps)
    seconds = {
        "fit_20k_x_10_first": small_runs[0]["total"],
        "second_fit_first_step": statistics.median(first_steps),
        "fit_20k_x_10": median_phases(small_runs[1:]),
        "fit_1m_x_50": median_phases(large_runs),
    }
    return {}, seconds


def beside_hand_loops(spark: SparkSession, network: Network, rounds: int, name: str) -> dict[str, float]:
    """Measure training beside loops written by hand, alternating; return ratios by `name`."""
    rows, epochs = 200_000, 4
    table = frame(spark, rows, 50)
    speeds: dict[str, list[float]] = {way: [] for way in ("ours_1", "hand_1", "ours_2", "hand_2", "silent_2")}
    for _ in range(rounds):
        for ranks in (1, 2):
            speeds[f"ours_{ranks}"].append(our_loop(table, network, ranks, epochs))
            speeds[f"hand_{ranks}"].append(hand_loop(network, ranks, rows, epochs))
        speeds["silent_2"].append(hand_loop(network, 2, rows, epochs, "--silent"))
    for way, values in speeds.items():
        show(f"rows/s {name} {way}", values, 0)
    median = {way: statistics.median(values) for way, values in speeds.items()}
    return {
        name: median["ours_1"] / median["hand_1"],
        f"{name}_2": median["ours_2"] / median["hand_2"],
        f"silent_2{'' if name == 'steady' else f'_{name}'}": median["ours_2"] / median["silent_2"],
    }


def part_steady(spark: SparkSession, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the steps of a network of 300,000 parameters; return ratios and no seconds."""
    return beside_hand_loops(spark, LARGE, rounds, "steady"), {}


def part_small(spark: SparkSession, rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the steps of a network of 3,000 parameters; return ratios and no seconds."""
    return beside_hand_loops(spark, SMALL, rounds, "small"), {}


PARTS = {"start": part_start, "fit": part_fit, "steady": part_steady, "small": part_small}


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round of each, to see that it runs")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="leave the other parts out")
    args = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    ratio: dict[str, float] = {}
    seconds: dict[str, Any] = {}
    for name in args.only:
        more_ratio, more_seconds = PARTS[name](spark, 1 if args.quick else 3)
        ratio |= more_ratio
        seconds |= more_seconds
    for name, value in ratio.items():
        print(f"{'ratio.' + name:40} {value:.3f}")
    print(json.dumps({"name": "fit", "ratio": {k: round(v, 4) for k, v in ratio.items()}, "seconds": seconds}))
    spark.stop()


if __name__ == "__main__":
    main()
