"""Executors that cannot write a file of the size that rows need: a fit says so in a sentence and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.faults import left_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
from pyspark.sql import SparkSession, functions as F
from sparkdl import SparkDLError
from tests.integration.faults import regressor

spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m").config("spark.driver.host", "127.0.0.1").getOrCreate())
spark.sparkContext.setLogLevel("OFF")
rows = spark.range(400, numPartitions=2).select(
    F.transform(F.sequence(F.lit(1), F.lit(2000)), lambda i: F.rand(1).cast("float")).alias("features"),
    F.rand(2).alias("label"))
for feed in ("parquet", "direct"):
    try:
        regressor(feed=feed, maxRestarts=2).fit(rows)
    except SparkDLError as error:
        print("SAID", feed, type(error).__name__, str(error).splitlines()[0], flush=True)
spark.stop()
"""


def test_rows_that_no_disk_takes(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    # 64 blocks are 64 KiB at most, for whatever Spark's Python workers write.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -f 64\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        env={**os.environ, "PYSPARK_PYTHON": str(python), "TMPDIR": str(temporary)},
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("SAID")]
    assert len(said) == 2, done.stdout + done.stderr
    assert all("File too large" in line for line in said), said
    assert "ClusterError the temporary folder for the rows cannot be written" in said[0]
    assert "rows cannot be spooled to" in said[1]
    assert left_in(temporary) == []
