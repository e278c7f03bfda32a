"""Rows that Spark packs and keeps for a direct feed: the same as those of files, and gone when nobody needs them."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl.data.direct.blocks import from_index
from sparkdl.data.direct.spooling import ingest_rows
from sparkdl.data.direct.writer import pack, piece_bytes_of
from sparkdl.data.write import StagingFolder, materialize, schema_of
from sparkdl.errors import ClusterError, DataError
from sparkdl.schema import DataSchema
from sparkdl.spark.facts import SessionFacts

HOW = {"validation_fraction": 0.3, "seed": 8, "count_classes": ("y",)}


def frame_of(spark: SparkSession) -> DataFrame:
    x = F.array(*[F.rand(3 + i) for i in range(4)])
    return spark.range(3000, numPartitions=3).select(x.alias("x"), (F.col("id") % 3).cast("double").alias("y"))


def schema(frame: DataFrame) -> DataSchema:
    return schema_of(frame.schema, inputs=[("x", ("x",))], labels=["y"], weight=None)


def kept(spark: SparkSession) -> int:
    return int(spark.sparkContext._jsc.getPersistentRDDs().size())


def arrow(frame: DataFrame) -> list[pa.RecordBatch]:
    """The pieces of all blocks, as a task gets them."""
    fields = [*((name, pa.int32()) for name in frame.columns[:4]), ("data", pa.binary())]
    rows = [{**row.asDict(), "data": bytes(row["data"])} for row in frame.collect()]
    return [pa.RecordBatch.from_pylist(rows, pa.schema(fields))]


def test_the_manifests_are_those_of_files(spark: SparkSession, tmp_path: Path) -> None:
    key = "spark.sql.inMemoryColumnarStorage.batchSize"
    frame, before, setting = frame_of(spark), kept(spark), spark.conf.get(key)
    files = materialize(frame, schema(frame), StagingFolder(str(tmp_path), spark), **HOW)
    packed = pack(frame, schema(frame), records_per_batch=10_000, **HOW)
    assert packed.blocks is not None
    assert packed.validation is not None
    assert files.validation is not None
    for one, two in ((packed.train, files.train), (packed.validation, files.validation)):
        assert (one.hash, one.rows, one.counts) == (two.hash, two.rows, two.counts)
    assert kept(spark) == before + 1
    assert spark.conf.get(key) == setting
    with tempfile.TemporaryFile() as file:
        index = ingest_rows(arrow(packed.blocks.frame), file.fileno(), packed.blocks.arguments)
        assert Path(f"/proc/self/fd/{file.fileno()}").stat().st_size == 3000 * 24
    assert len(from_index(index)) == sum(len(s.files) for s in (packed.train, packed.validation))
    packed.blocks.close()
    packed.blocks.close()
    assert kept(spark) == before


def other_each_time(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        values = [random.random() for _ in range(batch.num_rows)]
        yield pa.RecordBatch.from_pydict({"x": values, "y": values})


def test_rows_that_were_lost_and_come_back_as_others_are_refused(spark: SparkSession) -> None:
    frame = spark.range(50, numPartitions=1).mapInArrow(other_each_time, "x double, y double")
    packed = pack(frame, schema(frame), records_per_batch=10_000)
    assert packed.blocks is not None
    with tempfile.TemporaryFile() as file:
        ingest_rows(arrow(packed.blocks.frame), file.fileno(), packed.blocks.arguments)
        packed.blocks.close()
        with pytest.raises(DataError, match="checksum .* was counted: the DataFrame gave other rows the second time"):
            ingest_rows(arrow(packed.blocks.frame), file.fileno(), packed.blocks.arguments)


def test_a_dataframe_that_fails_leaves_nothing(spark: SparkSession) -> None:
    frame, before = frame_of(spark).withColumn("y", F.raise_error(F.lit("mine")).cast("double")), kept(spark)
    with pytest.raises(Exception, match="mine"):
        pack(frame, schema(frame), records_per_batch=10_000)
    assert kept(spark) == before


def test_no_rows_are_no_blocks(spark: SparkSession) -> None:
    frame = frame_of(spark).where("y > 5")
    packed = pack(frame, schema(frame), records_per_batch=10_000)
    assert packed.blocks is not None
    assert (packed.train.rows, packed.validation, packed.blocks.arguments["files"]) == (0, None, [])
    packed.blocks.close()


@pytest.mark.parametrize(("records", "piece"), [("10000", 6704), ("5", 4 << 20), ("65536", 1024)])
def test_an_arrow_batch_of_spark_stays_small(spark: SparkSession, records: str, piece: int) -> None:
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, records)
    try:
        assert piece_bytes_of(SessionFacts.read(spark).records_per_batch) == piece
        for refused in ("0", "-1", "65537"):
            spark.conf.set(key, refused)
            with pytest.raises(ClusterError, match=f"{key}={refused} would put too many rows"):
                piece_bytes_of(SessionFacts.read(spark).records_per_batch)
    finally:
        spark.conf.set(key, before)
