"""Spark's own progress lines, in a process of their own whose standard error is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl.spark.console import without_stages

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", sys.argv[1])
    .getOrCreate()
)

@F.udf("long")
def slow(x):
    time.sleep(1.5)
    return x

def work(name):
    print(f"BEGIN {name}", file=sys.stderr, flush=True)
    spark.range(1, numPartitions=1).select(F.sum(slow("id"))).collect()
    print(f"END {name}", file=sys.stderr, flush=True)

work("before")
with without_stages(spark):
    work("inside")
work("after")
spark.stop()
with without_stages(spark):
    print("STOPPED", file=sys.stderr)
"""


def lines_of_stages(shown: str) -> dict[str, str]:
    """Run the program; return what standard error got during each job."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, shown], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "STOPPED" in done.stderr
    parts = {}
    for name in ("before", "inside", "after"):
        parts[name] = done.stderr.split(f"BEGIN {name}")[1].split(f"END {name}")[0]
    return parts


def test_they_are_away_for_the_time_and_come_back() -> None:
    parts = lines_of_stages("true")
    assert "[Stage" in parts["before"]
    assert "[Stage" not in parts["inside"]
    assert "[Stage" in parts["after"]


@pytest.mark.slow
def test_nothing_happens_where_spark_shows_none() -> None:
    assert not any("[Stage" in part for part in lines_of_stages("false").values())
