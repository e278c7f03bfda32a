"""Executors whose Python has nothing but what Spark brings: a fit and a runner say so in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pyspark.sql import SparkSession, functions as F
from sparkdl import HorovodRunner, SparkDLError, TorchRegressor

spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m").config("spark.driver.host", "127.0.0.1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
frame = spark.range(100).select(F.col("id").cast("double").alias("x"), (F.col("id") * 2.0).alias("label"))
for call in (
    lambda: TorchRegressor(featuresCols=["x"], module="mlp", numProcs=2).fit(frame),
    lambda: HorovodRunner(np=2).run(lambda: 1),
):
    try:
        call()
    except SparkDLError as error:
        print("SAID", type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_python_without_the_packages_is_named(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=120)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**known, "PYSPARK_PYTHON": str(tmp_path / "bare" / "bin" / "python")},
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if "SAID" in line]
    assert len(said) == 2, done.stdout + done.stderr
    assert "ClusterError" in said[0]
    assert said[0].endswith("has no sparkdl-torch: install the driver's sparkdl-torch on all hosts (docs/executors.md)")
    assert "ClusterError" in said[1]
    assert said[1].endswith("has no pyarrow: install it on all hosts (docs/executors.md)")
