"""Executors that are lost in mid-fit, in processes of their own, with Python workers that are not used again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.faults import assert_gone

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

PROGRAM = """
import logging, sys, time
from pyspark.sql import SparkSession
from tests.integration.faults import Faults, Trace, assert_same, regressor, rows_of

folder = sys.argv[1]
spark = (SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.memory", "600m").config("spark.python.worker.reuse", "false").getOrCreate())
spark.sparkContext.setLogLevel("OFF")
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
logging.getLogger("sparkdl.cluster.driver.launch").setLevel(logging.INFO)
rows = rows_of(spark)
undisturbed = regressor().fit(rows)

began = time.monotonic()
plan = [(5, 1, "loses_executor"), (12, 0, "loses_executor")]
model = regressor(callbacks=[Trace(folder), Faults(folder, plan)], checkpointUrl=f"{folder}/checkpoints",
    checkpointSteps=1, maxRestarts=2).fit(rows)
assert_same(model, undisturbed)
print("SAME executors", round(time.monotonic() - began, 1), flush=True)
spark.stop()
"""


def test_lost_executors_cost_no_row_and_no_bit(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("SAME executors") for line in lines), done.stdout + done.stderr
    restarts = [line for line in lines if "restart " in line]
    assert len(restarts) == 2, restarts
    assert all("was lost while 2 ranks ran" in line for line in restarts), restarts
    assert_gone(tmp_path, 6)
