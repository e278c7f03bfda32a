from __future__ import annotations

import subprocess
import sys
import time

import pytest

from sparkdl.errors import ClusterError, SettingError
from sparkdl.preflight.cluster import check_cluster
from sparkdl.spark.facts import SessionFacts

# A cluster of two executors in processes of their own, with dynamic allocation and without GPUs; it starts no rank.
PROGRAM = """
from pyspark.sql import SparkSession
from sparkdl.errors import ClusterError
from sparkdl.preflight.cluster import check_cluster
from sparkdl.preflight.gpus import check_gpus
from sparkdl.spark.facts import SessionFacts
builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
for name in ("spark.dynamicAllocation.enabled", "spark.dynamicAllocation.shuffleTracking.enabled"):
    builder = builder.config(name, "true")
spark = builder.getOrCreate()
try:
    check_cluster(spark, SessionFacts.read(spark), 2)
except ClusterError as error:
    print("REFUSED", error)
try:
    check_gpus(SessionFacts.read(spark), 2, device="cuda", visible=("0", "1"))
except ClusterError as error:
    print("REFUSED", error)
spark.stop()
"""


def test_as_many_ranks_as_slots_pass(spark):
    check_cluster(spark, SessionFacts.read(spark), 1)
    check_cluster(spark, SessionFacts.read(spark), 2)


def test_more_ranks_than_slots_are_refused_at_once_with_both_numbers(spark):
    begun = time.monotonic()
    with pytest.raises(
        ClusterError, match="^numProcs=8 needs 8 task slots, this cluster has 2: lower numProcs or (create|start) "
    ):
        check_cluster(spark, SessionFacts.read(spark), 8)
    assert time.monotonic() - begun < 5


def test_the_number_is_called_as_the_user_calls_it(spark):
    with pytest.raises(ClusterError, match='^np=3 needs 3 task slots, this cluster has 2: lower np or .*"local.3."'):
        check_cluster(spark, SessionFacts.read(spark), 3, name="np")


def test_no_ranks_are_refused(spark):
    with pytest.raises(SettingError, match="invalid numProcs=0: expected an integer >= 1"):
        check_cluster(spark, SessionFacts.read(spark), 0)


def test_dynamic_allocation_and_tasks_without_gpus_are_refused_by_the_name_of_the_setting():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=250, check=False)
    assert "REFUSED spark.dynamicAllocation.enabled=true, and Spark runs no barrier stage with it" in done.stdout, done
    # What the driver's host shows is not the executors'.
    assert "the tasks are given none (spark.task.resource.gpu.amount is not set): set" in done.stdout, done
