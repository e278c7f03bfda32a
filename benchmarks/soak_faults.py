"""Whether a long training that loses a rank every 20 seconds is the training that loses none.

    .venv/bin/python benchmarks/soak_faults.py [--minutes 30]

A fit of two ranks with checkpoints has a rank killed at random moments, saves included; another one of the same job is
left alone. The last line is JSON: `kills` and `restarts`, whether history and final weights are the same bit for bit,
in `seconds` the whole time and the mean of what a kill has cost, in `ratio` the time over what the steps alone take.
The program ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchClassificationModel, TorchClassifier
from sparkdl.train import Callback, TrainState

ROWS, BATCH, WIDTH = 2000, 100, 20
STEPS = ROWS // BATCH
PAUSE = 0.1
EVERY = (10.0, 30.0)
TIMES = ("seconds", "rows_per_second", "wait_share")


class Slow(Callback):
    """Makes a step as long as one of a larger network, and notes the processes of the ranks."""

    def __init__(self, folder: str, pause: float) -> None:
        self.folder, self.pause = folder, pause

    def on_train_begin(self, state: TrainState) -> None:
        # Other processes get the number of one that has ended, but not its time.
        Path(self.folder, str(os.getpid())).write_text(str(psutil.Process().create_time()))

    def on_step_end(self, state: TrainState) -> None:
        time.sleep(self.pause)


class Killer(threading.Thread):
    """Kills one of the ranks that live, again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.kills = 0

    def run(self) -> None:
        while not self.over.wait(self.random.uniform(*EVERY)):
            living = []
            for path in sorted(self.folder.iterdir()):
                with suppress(psutil.NoSuchProcess):
                    rank = psutil.Process(int(path.name))
                    if str(rank.create_time()) == path.read_text():
                        living.append(rank)
            if living:
                self.random.choice(living).kill()
                self.kills += 1
                print(f"{time.strftime('%H:%M:%S')} kill {self.kills}", flush=True)


class Restarts(logging.Handler):
    """Counts the restarts, and says why."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("restart "):
            self.count += 1
            print(record.getMessage(), flush=True)


def rows_of(spark: SparkSession) -> DataFrame:
    """Return rows whose class is in the sum of their numbers."""
    numbers = F.array(*((F.hash("id", F.lit(i)) % 1000 / 1000).cast("float") for i in range(WIDTH)))
    frame = spark.range(ROWS, numPartitions=4).select(numbers.alias("features"))
    total = F.aggregate("features", F.lit(0.0), lambda a, b: a + b)
    return frame.withColumn("label", F.when(total > 0.3, 2).when(total > -0.3, 1).otherwise(0))


def fit(rows: DataFrame, epochs: int, **settings: Any) -> TorchClassificationModel:
    """Train the network of both fits."""
    network = {"module": "mlp", "moduleParams": {"hidden": [64, 64], "dropout": 0.1}}
    return TorchClassifier(epochs=epochs, batchSize=BATCH, numProcs=2, seed=11, verbose=0, **network, **settings).fit(
        rows
    )


def same(one: TorchClassificationModel, other: TorchClassificationModel) -> bool:
    """Return whether two fits have the same history, without times, and the same weights."""
    histories = [[{k: v for k, v in row.items() if k not in TIMES} for row in model.history] for model in (one, other)]
    states = [model.network.state_dict() for model in (one, other)]
    whole = all(row["rows"] == ROWS for row in one.history)
    return whole and histories[0] == histories[1] and all(torch.equal(states[0][k], states[1][k]) for k in states[1])


def soak(spark: SparkSession, minutes: float, folder: Path) -> dict[str, Any]:
    """Train twice, and return what was seen."""
    rows = rows_of(spark).cache()
    epochs = max(2, round(60 * minutes / STEPS / PAUSE))
    undisturbed = fit(rows, epochs)
    print(f"{epochs} epochs of {STEPS} steps, left alone: loss {undisturbed.history[-1]['loss']:.6f}", flush=True)
    ranks = folder / "ranks"
    ranks.mkdir()
    restarts = Restarts()
    logger = logging.getLogger("sparkdl.cluster.driver.launch")
    logger.setLevel(logging.INFO)
    logger.addHandler(restarts)
    killer = Killer(ranks, seed=3)
    began = time.monotonic()
    killer.start()
    disturbed = fit(
        rows,
        epochs,
        callbacks=[Slow(str(ranks), PAUSE)],
        checkpointUrl=str(folder / "checkpoints"),
        checkpointSteps=10,
        checkpointInterval=epochs,
        maxRestarts=10_000,
    )
    killer.over.set()
    killer.join()
    seconds = time.monotonic() - began
    alone = epochs * STEPS * PAUSE
    return {
        "name": "soak_faults",
        "ratio": {"time": round(seconds / alone, 3)},
        "seconds": {"total": round(seconds, 1), "kill": round((seconds - alone) / max(1, killer.kills), 2)},
        "kills": killer.kills,
        "restarts": restarts.count,
        "same": same(disturbed, undisturbed),
    }


def main() -> None:
    """Train, kill, compare, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory(prefix="sparkdl-soak-faults-") as folder:
        result = soak(spark, args.minutes, Path(folder))
    print(json.dumps(result))
    spark.stop()
    if not result["same"] or not result["kills"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
