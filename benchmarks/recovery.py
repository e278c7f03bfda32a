"""How soon training goes on after a lost rank or a lost executor, and what checkpoints cost.

    .venv/bin/python benchmarks/recovery.py [--quick] [--only saving warm cold]

`seconds.warm` is from the SIGKILL of a rank to the end of the next optimizer step, on a local master whose ranks are
forked from a server that has torch; `seconds.cold` the same for a killed executor of a cluster of two, where the other
one has a free slot and takes the rank. `ratio.saving` is the share of a minute by which one checkpoint of a network of
100 MB (300 MB with what AdamW holds) prolongs the training: the loop alone, with and without, in turn. The last line
is JSON; it exits with 1 where warm is above 5, cold above 15 or saving above 0.03.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pyspark.sql import DataFrame, SparkSession
from torch import nn

from sparkdl import TorchRegressor
from sparkdl.comm.solo import SoloBackend
from sparkdl.train import Callback, TrainState
from sparkdl.train.checkpoint.config import CheckpointConfig
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit

LIMITS = {"warm": 5.0, "cold": 15.0, "saving": 0.03}
KILL_AT = 12
WIDTH = 5000
"""A layer of so many numbers has 100 MB of weights."""


class Steps(Callback):
    """Writes when each step ends; the last rank kills itself at one step, once, where it is asked to."""

    def __init__(self, folder: str, kill: bool) -> None:
        self._folder, self._kill = folder, kill

    def on_step_end(self, state: TrainState) -> None:
        if state.rank == 0:
            with (Path(self._folder) / "steps").open("a") as file:
                file.write(f"{state.step} {time.time()}\n")
        killed = Path(self._folder) / "killed"
        if self._kill and state.step == KILL_AT and state.rank == state.size - 1 and not killed.exists():
            killed.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        # So that there is a middle in which something can be killed.
        time.sleep(0.05)


def rows(spark: SparkSession) -> DataFrame:
    return spark.range(2000).selectExpr("array(cast(id % 7 as float), cast(id % 3 as float)) features", "id % 7 label")


def regressor(folder: str, kill: bool, restarts: int) -> TorchRegressor:
    return TorchRegressor(
        module="mlp",
        batchSize=32,
        epochs=2,
        numProcs=2,
        backend="torch",
        checkpointUrl=f"{folder}/checkpoints",
        checkpointSteps=5,
        maxRestarts=restarts,
        callbacks=[Steps(folder, kill)],
        cacheUrl=f"{folder}/rows",
        verbose=0,
    )


class Lost(NamedTuple):
    """Seconds to the next step, and steps that were taken twice."""

    seconds: float
    steps: int


def lost_after(folder: Path) -> Lost:
    killed = float((folder / "killed").read_text())
    taken = [line.split() for line in (folder / "steps").read_text().splitlines()]
    before = max(int(step) for step, at in taken if float(at) <= killed)
    first, at = next((int(step), float(at)) for step, at in taken if float(at) > killed + 0.2)
    return Lost(at - killed, before - first + 1)


def measure_warm(rounds: int) -> list[Lost]:
    """A rank of two on a local master is killed; both begin again."""
    spark = session("local[2]")
    found = []
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            regressor(folder, kill=number > 0, restarts=1).fit(rows(spark))
            if number:
                found.append(lost_after(Path(folder)))
    spark.stop()
    return found


def measure_cold(rounds: int) -> list[Lost]:
    """An executor of a cluster is killed; its rank begins again on another one."""
    found = []
    for _ in range(rounds):
        spark = session("local-cluster[3,1,1024]")
        with tempfile.TemporaryDirectory() as folder:
            killer = threading.Thread(target=kill_executor, args=(Path(folder), spark.sparkContext.applicationId))
            killer.start()
            regressor(folder, kill=False, restarts=1).fit(rows(spark))
            killer.join()
            found.append(lost_after(Path(folder)))
        spark.stop()
    return found


def kill_executor(folder: Path, application: str) -> None:
    """Kill the executor that runs rank 0's watcher once training is in its middle."""
    steps = folder / "steps"
    while not steps.exists() or len(steps.read_text().splitlines()) < KILL_AT:
        time.sleep(0.01)
    victim = next(executors(application))
    (folder / "killed").write_text(str(time.time()))
    os.kill(victim, signal.SIGKILL)


def executors(application: str) -> Iterator[int]:
    """Yield the processes of an application's executors that run a rank's task."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in words and application.encode() in words:
            if children(int(path.parent.name)):
                yield int(path.parent.name)


def children(parent: int) -> list[int]:
    """Return the processes that a process has started: an executor with a task has Python workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


def session(master: str) -> SparkSession:
    return (
        SparkSession.builder.master(master)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.executor.memory", "1g")
        .getOrCreate()
    )


class Batch(NamedTuple):
    """As `sparkdl.train.config.FeedBatch`."""

    inputs: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    weights: None
    planned_rows: int

    def for_network(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return inputs


class Feed:
    """The same batch in each step."""

    wait_seconds = 0.0

    def __init__(self, steps: int) -> None:
        self.steps, self.rows = steps, steps * 64
        self._batch = Batch((torch.randn(64, WIDTH),), (torch.randn(64, WIDTH),), None, 64)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for _ in range(start_step, self.steps):
            yield self._batch


def train(steps: int, checkpoints: CheckpointConfig | None) -> float:
    """Return the seconds of a training of some steps, the writing of its last checkpoint left out."""
    ended: list[float] = []

    class Clock(Callback):
        def on_train_begin(self, state: TrainState) -> None:
            ended.append(time.monotonic())

        def on_step_end(self, state: TrainState) -> None:
            ended.append(time.monotonic())

    config = TrainConfig(losses=("mse",), callbacks=(Clock(),))
    fit(nn.Linear(WIDTH, WIDTH, bias=False), config, Feed(steps), None, SoloBackend(), None, checkpoints)
    return ended[-1] - ended[1]


def measure_saving(rounds: int, steps: int) -> list[float]:
    """Return by how many seconds one checkpoint prolongs a training, for each round."""
    extra = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            without = train(steps, None)
            # One in the middle, one near the end; that of the end is not counted.
            settings = CheckpointConfig(folder, "checkpointUrl", steps=steps // 3, keep=1, run="one")
            extra.append((train(steps, settings) - without) / 2)
    return extra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", nargs="+", default=["saving", "warm", "cold"], choices=["saving", "warm", "cold"])
    arguments = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    seconds: dict[str, float] = {}
    ratio: dict[str, float] = {}
    steps_lost: dict[str, float] = {}
    if "saving" in arguments.only:
        extra = measure_saving(3 if arguments.quick else 5, 60)
        seconds["saving"] = statistics.median(extra)
        ratio["saving"] = seconds["saving"] / 60
        print(f"one checkpoint of 300 MB: {seconds['saving']:.2f} s more, {ratio['saving']:.4f} of a minute")
    for name, measure, rounds in (("warm", measure_warm, 3), ("cold", measure_cold, 2)):
        if name in arguments.only:
            lost = measure(1 if arguments.quick else rounds)
            seconds[name] = statistics.median(each.seconds for each in lost)
            steps_lost[name] = statistics.median(each.steps for each in lost)
            print(f"{name}: {seconds[name]:.1f} s to the next step, {steps_lost[name]:g} steps taken twice")
    figures: dict[str, Any] = {"ratio": ratio, "seconds": seconds, "steps_lost": steps_lost}
    rounded = {name: {key: round(value, 4) for key, value in each.items()} for name, each in figures.items()}
    print(json.dumps({"name": "recovery", **rounded}))
    if any({**ratio, **seconds}[name] > limit for name, limit in LIMITS.items() if name in {**ratio, **seconds}):
        sys.exit(1)


if __name__ == "__main__":
    main()
