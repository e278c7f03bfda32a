"""Barrier stages, and tasks with resources of their own; tests/integration/test_standalone_gpus.py uses a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError
from sparkdl.spark.barrier import await_slots, barrier_slots, collect_barrier, profile_of
from sparkdl.spark.facts import SessionFacts


def meet(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from pyspark import BarrierTaskContext

    for _ in batches:
        pass
    context = BarrierTaskContext.get()
    numbers = context.allGather(str(context.partitionId()))
    yield pa.RecordBatch.from_pydict({"seen": [",".join(numbers)]})


def test_all_tasks_run_at_once(spark: SparkSession) -> None:
    assert [row["seen"] for row in collect_barrier(spark, SessionFacts.read(spark), meet, 2, "seen string")] == [
        "0,1",
        "0,1",
    ]


def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"key": batch.column("key").to_pylist(), "task": [worker()] * batch.num_rows})


def worker() -> int:
    from pyspark import BarrierTaskContext

    return int(BarrierTaskContext.get().partitionId())


def test_rows_that_agree_go_to_one_task(spark: SparkSession) -> None:
    rows = spark.range(400, numPartitions=3).selectExpr("id % 40 as key", "id as value")
    found = [
        (row["key"], row["task"])
        for row in collect_barrier(
            spark, SessionFacts.read(spark), count, 2, "key long, task long", None, (rows, ["key"])
        )
    ]
    assert len(found) == 400
    assert len(set(found)) == 40
    assert {task for _, task in found} == {0, 1}


def test_resources_of_their_own_need_a_cluster(spark: SparkSession) -> None:
    assert profile_of(spark, SessionFacts.read(spark), {}) is None
    assert barrier_slots(spark, SessionFacts.read(spark), None) == 2
    # On pyspark 3.5 the version is named, else the master.
    with pytest.raises(ClusterError, match=r"taskResources=\{cpus: 1, gpu: 0.5\} needs .*: leave taskResources out"):
        barrier_slots(spark, SessionFacts.read(spark), {"cpus": 1, "gpu": 0.5})


def test_slots_are_waited_for(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SessionFacts.read(spark)
    assert await_slots(spark, facts, 2)
    monkeypatch.setattr("sparkdl.spark.barrier._AGAIN_AFTER", 0.3)
    assert not await_slots(spark, facts, 3)
