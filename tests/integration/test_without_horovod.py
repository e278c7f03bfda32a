"""A Python without Horovod: driver, Spark's workers, servers of warm ranks and ranks, all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HIDE = """
import importlib.machinery as machinery

found = machinery.PathFinder.find_spec.__func__


def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] == "horovod" else found(cls, name, path, target)


machinery.PathFinder.find_spec = classmethod(find_spec)
"""
PROGRAM = """
import importlib.util, os, sys
from pyspark.sql import SparkSession, functions as F
from sparkdl import HorovodRunner, SparkDLError, TorchRegressor
from sparkdl.horovod import log_to_driver
from sparkdl.train import Callback

assert importlib.util.find_spec("horovod") is None
spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m").config("spark.driver.host", "127.0.0.1").getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
frame = spark.range(200).select((F.col("id") / 200).alias("x"), (F.col("id") / 100).alias("label"))


class Look(Callback):
    def on_train_begin(self, state):
        import torch.distributed as dist
        there = "torch.distributed" if dist.is_initialized() else "nobody"
        log_to_driver(f"RANK {state.rank} of {state.size} talks to {there}, {importlib.util.find_spec('horovod')}")


def fit(**settings):
    return TorchRegressor(featuresCols=["x"], module="mlp", moduleParams={"hidden": []}, epochs=20, batchSize=20,
        learningRate=0.05, seed=1, callbacks=[Look()], **settings).fit(frame)


def refused(call):
    try:
        call()
    except SparkDLError as error:
        print("REFUSED", type(error).__name__, error)


fit(numProcs=2, verbose=0)
print("FIRST", file=sys.stderr)
print("LOSS", fit(numProcs=2).history[-1]["loss"])
print("SECOND", file=sys.stderr)
fit(numProcs=2)
fit(numProcs=1, backend="horovod")
refused(lambda: fit(numProcs=2, backend="horovod", cacheUrl=sys.argv[1]))
refused(lambda: HorovodRunner(np=2).run(print))
refused(lambda: HorovodRunner(np=-2).run(print))
print("ALONE", HorovodRunner(np=1).run(lambda: os.environ["WORLD_SIZE"]))
print("TORCH", HorovodRunner(np=2, backend="torch").run(lambda: os.environ["WORLD_SIZE"]))
"""
LINE = (
    "Horovod is not installed in the driver's Python, so the 2 ranks talk by torch.distributed: "
    "to get Horovod, run sparkdl-build-horovod"
)
MISSING = "SettingError invalid backend='horovod': Horovod is not installed in the driver's Python: "


@pytest.mark.slow
def test_ranks_train_by_torch_and_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDE)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    # A temporary folder of its own: servers of warm ranks that other tests have started have Horovod.
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            [sys.executable, program, tmp_path / "rows"],
            env={**os.environ, "PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT}", "TMPDIR": temporary},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    said, shown = done.stdout.splitlines(), done.stderr.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(next(line for line in said if line.startswith("LOSS")).split()[1]) < 0.01
    assert {"ALONE 1", "TORCH 2"} <= set(said)

    # The line comes once, before the rows are written, and never from a silent fit.
    assert shown.count(LINE) == 1
    first = shown.index("FIRST")
    assert LINE not in shown[:first]
    assert shown[first + 1 : first + 3] == [LINE, "writing rows"]
    assert shown.count("[1] RANK 1 of 2 talks to torch.distributed, None") == 2
    assert shown.count("[0] RANK 0 of 1 talks to nobody, None") == 1

    refused = [line.removeprefix("REFUSED ") for line in said if line.startswith("REFUSED")]
    assert refused == [
        f"{MISSING}run sparkdl-build-horovod, or set backend='torch' or leave backend='auto'",
        *(
            f"{MISSING}run sparkdl-build-horovod, or set backend='torch' and let the function meet the others by "
            "torch.distributed",
        )
        * 2,
    ]
    assert not (tmp_path / "rows").exists()
