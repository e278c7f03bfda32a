"""Spark sessions of their own with one cacheUrl: at the same time, one after the other, and one that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sparkdl.data import clear_cache
from sparkdl.data.cache import store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = """
import json, sys, time
from pathlib import Path
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sparkdl import TorchRegressor
from sparkdl.data import clear_cache

base, number, programs, endless = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "endless"
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "700m")
    .config("spark.driver.host", "127.0.0.1")
    .getOrCreate()
)


def forever(batches):
    for batch in batches:
        yield batch
        while endless:
            time.sleep(0.01)
            yield batch


def rows(factor):
    x, label = (F.col("id") / 300).alias("x"), (F.col("id") * factor).alias("label")
    frame = spark.range(300, numPartitions=2).select(x, label)
    return frame.mapInArrow(forever, frame.schema) if endless else frame


def loss(factor):
    model = TorchRegressor(
        featuresCols=["x"], module="mlp", moduleParams={"hidden": []}, batchSize=50, seed=1, backend="local", verbose=0,
        cacheUrl=base + "/rows",
    ).fit(rows(factor))
    return model.history[0]["loss"], model.history[0]["rows"]


def meet(place, count):
    Path(base, f"{place}-{number}").touch()
    while len(list(Path(base).glob(f"{place}-*"))) < count:
        time.sleep(0.01)


losses = []
for turn in range(programs):
    meet(f"turn{turn}", programs)
    # The first rows are the same in all programs, the second this program's own.
    losses.append([loss(1.0), loss(2.0 + number)])
    if turn + 1 < programs:
        clear_cache(base + "/rows", older_than=0.5)
print("LOSSES", json.dumps(losses))
spark.stop()
"""


def start(base: Path, number: int, programs: int, kind: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(base), str(number), str(programs), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses_of(program: subprocess.Popen[str]) -> list[list[list[float]]]:
    out, err = program.communicate(timeout=600)
    (line,) = [line for line in out.splitlines() if line.startswith("LOSSES")] or [out + err]
    losses: list[list[list[float]]] = json.loads(line.removeprefix("LOSSES"))
    return losses


def test_sessions_share_a_folder_and_one_of_them_dies_while_it_writes(tmp_path: Path) -> None:
    killed = start(tmp_path, 3, 1, "endless")
    try:
        deadline = time.monotonic() + 300
        # Rows of some task are there, or are being written.
        while not any("part" in path.name for path in (tmp_path / "rows").glob("sparkdl-rows-*/**/*")):
            assert killed.poll() is None, killed.communicate()
            assert time.monotonic() < deadline, list((tmp_path / "rows").rglob("*"))
            time.sleep(0.05)
    finally:
        family = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
        killed.communicate()
        _, left = psutil.wait_procs(family, timeout=60)
    assert left == []
    (half,) = (tmp_path / "rows").iterdir()
    assert not (half / store.MANIFEST).exists()

    (tmp_path / "turn0-3").unlink()
    programs = [start(tmp_path, number, 2, "finite") for number in (1, 2)]
    first, second = map(losses_of, programs)
    shared, own = [turn[0] for turn in first + second], [[turn[1] for turn in all_] for all_ in (first, second)]
    # Every fit has had its 300 rows, and the same ones give the same loss, whoever has written them.
    assert all(rows == 300 for _, rows in shared + own[0] + own[1])
    assert all(loss == pytest.approx(shared[0][0], rel=1e-6) for loss, _ in shared)
    assert [len({round(loss, 4) for loss, _ in each}) for each in own] == [1, 1]
    assert own[0][0] != own[1][0]
    # A session that comes later writes nothing that is there already.
    there = {path.name for path in (tmp_path / "rows").iterdir()}
    (later,) = losses_of(start(tmp_path, 1, 1, "finite"))
    assert [loss for loss, _ in later] == pytest.approx([shared[0][0], own[0][0][0]])
    assert {path.name for path in (tmp_path / "rows").iterdir()} == there
    # What the dead session has left is nobody's rows, and its lease still runs.
    assert not (half / store.MANIFEST).exists()
    assert half.name not in clear_cache(str(tmp_path / "rows"))
    assert [path.name for path in (tmp_path / "rows").iterdir()] == [half.name]
