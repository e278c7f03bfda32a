"""A driver with two fits at once, and Spark's workers that score, are as before for all other code that they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, multiprocessing, os, random, signal, sys, warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from lightning_utilities.core import imports
from pyspark.sql import SparkSession
from torch.optim import Optimizer

from sparkdl import TorchClassifier


def look():
    methods = {name: vars(getattr(m, "__wrapped__", m)) for name, m in vars(Optimizer).items() if callable(m)}
    return {
        "torch.optim.Optimizer": {name: dict(marks) for name, marks in methods.items()},
        "torch's methods": dict(vars(Optimizer)),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "collector": (gc.get_freeze_count(), gc.isenabled(), gc.get_threshold()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "lightning_utilities": (imports.package_available, imports.RequirementCache.__bool__),
        "imports": (list(sys.meta_path), list(sys.path_hooks), list(sys.path)),
        "warnings": [entry for entry in warnings.filters if entry[0] == "ignore"],
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "switches": sys.getswitchinterval(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "numpy": np.geterr(),
        "random numbers": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
    }


def look_at_worker(batches):
    import gc, os, signal, sys
    import pandas as pd
    import torch

    # A worker that is left with rows is not used again.
    for _ in batches:
        pass
    handlers = {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()}
    seen = (gc.get_freeze_count(), gc.isenabled(), torch.get_num_threads(), sys.getswitchinterval(), len(sys.meta_path))
    environment = sorted(item for item in os.environ.items())
    yield pd.DataFrame({"process": [os.getpid()], "seen": [repr((seen, handlers, environment))]})


def workers():
    rows = spark.range(2, numPartitions=2).mapInPandas(look_at_worker, "process long, seen string").collect()
    return {row.process: row.seen for row in rows}


def fit(seed):
    network = dict(module="mlp", moduleParams={"hidden": [4]}, metrics=["accuracy", "f1"], lrSchedule="OneCycleLR")
    return TorchClassifier(seed=seed, epochs=2, batchSize=32, verbose=0, validationFraction=0.2, **network).fit(df)


spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
df = spark.range(200).selectExpr("array(cast(id as float), 1.0f) features", "cast(id % 2 as int) label")
before = look()
with ThreadPoolExecutor(2) as pool:
    models = list(pool.map(fit, (1, 2)))
after = look()
print("driver changed:", sorted(name for name in before if before[name] != after[name]))
before = workers()
models[0].transform(df).selectExpr("sum(prediction)").collect()
after = workers()
print("workers compared:", len(before.keys() & after.keys()) > 0)
print("workers changed:", [(before[p], after[p]) for p in before.keys() & after.keys() if before[p] != after[p]])
"""


@pytest.mark.slow
def test_nothing_is_changed_outside_of_ranks(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["driver changed: []", "workers compared: True", "workers changed: []"]
