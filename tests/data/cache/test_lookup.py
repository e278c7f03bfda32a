"""Rows that are kept by what they hold: found again, not confused, and nothing left by a writing that failed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl.data import clear_cache
from sparkdl.data.cache import store
from sparkdl.data.cache.lookup import keep, keeping_base
from sparkdl.data.sampling.plan import Plan
from sparkdl.data.write import StagingFolder, schema_of
from sparkdl.data.write.fingerprint import content_of
from sparkdl.schema import DataSchema
from sparkdl.spark.facts import CACHE_CONF, SessionFacts
from sparkdl.storage import leases


def fields_of(df: DataFrame) -> DataSchema:
    return schema_of(df.schema, inputs=[("a", ("a",)), ("v", ("v",))], labels=["y"], weight=None)


def rows(spark: SparkSession, changed: Column | None = None) -> DataFrame:
    y = F.col("id") if changed is None else F.when(F.col("id") == 77, changed).otherwise(F.col("id"))
    vectors = spark.createDataFrame([(0, Vectors.dense(1.0, 2.0)), (1, Vectors.sparse(2, {0: 3.0}))], ["k", "v"])
    table = spark.range(200, numPartitions=3).select(
        F.array(F.col("id") / 2, F.lit(1.0)).alias("a"), (F.col("id") % 2).alias("k"), y.alias("y")
    )
    return table.join(F.broadcast(vectors), "k")


def test_the_same_rows_are_written_once(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sparkdl")
    place = StagingFolder(str(tmp_path), spark)
    df = rows(spark)
    first = keep(df, fields_of(df), place, count_classes=["y"])
    # Other partitions, another order, by a task, under another name of the folder.
    again = rows(spark).orderBy(F.desc("y")).repartition(2)
    by_task = replace(place, one_host=False, url=str(tmp_path / ".." / tmp_path.name))
    second = keep(again, fields_of(again), by_task, count_classes=["y"])
    assert [first.reused, second.reused] == [False, True]
    assert [text.partition(":")[0] for text in caplog.messages] == ["cache miss", "cache hit"]
    assert len(list(tmp_path.iterdir())) == 1
    one, two = first.dataset.train, second.dataset.train
    assert (one.hash, one.files, one.counts) == (two.hash, two.files, two.counts)
    assert two.url.startswith(str(tmp_path / ".."))
    assert Plan.of(one, batch_size=16) == Plan.of(two, batch_size=16)
    assert one.lease != two.lease
    assert clear_cache(str(tmp_path)) == []
    first.close()
    assert clear_cache(str(tmp_path)) == []
    second.close()
    assert len(clear_cache(str(tmp_path))) == 1
    assert not keep(df, fields_of(df), place, count_classes=["y"]).reused


def test_other_rows_and_other_wishes_are_other_entries(spark: SparkSession, tmp_path: Path) -> None:
    place = StagingFolder(str(tmp_path), spark)
    df = rows(spark)
    keep(df, fields_of(df), place).close()
    other = rows(spark, F.lit(78))
    assert not keep(other, fields_of(other), place).reused
    assert not keep(df, fields_of(df), place, fill_value=0.0).reused
    split = keep(df, fields_of(df), place, validation_fraction=0.5, seed=1)
    same = keep(df, fields_of(df), place, validation_fraction=0.5, seed=1)
    assert [split.reused, same.reused] == [False, True]
    assert split.dataset.validation is not None
    assert same.dataset.validation is not None
    assert same.dataset.validation.hash == split.dataset.validation.hash
    assert len(list(tmp_path.iterdir())) == 4


def test_nulls_and_the_ends_of_arrays_count(spark: SparkSession) -> None:
    def content(sql: str) -> str:
        df = spark.sql(f"select * from values {sql} as t(a, b)").coalesce(1)
        fields = schema_of(df.schema, inputs=[("a", ("a",)), ("b", ("b",))], labels=[], weight=None)
        return content_of(df, fields, None, None)

    values = [
        "(array(array(1, 2), array(3)), 1)",
        "(array(array(1), array(2, 3)), 1)",
        "(array(array(1), array(2, 3)), 1), (array(array(1), array(2, 3)), 1)",
        "(array(array(1), array(2, 3)), cast(null as int))",
        "(cast(null as array<array<int>>), 1)",
        "(cast(array() as array<array<int>>), 1)",
    ]
    assert len({content(sql) for sql in values}) == len(values)
    assert content("(array(array(1)), 1), (array(array(2)), 2)") == content(
        "(array(array(2)), 2), (array(array(1)), 1)"
    )


def test_a_writing_that_fails_leaves_nothing(spark: SparkSession, tmp_path: Path) -> None:
    df = rows(spark).withColumn("y", F.when(F.col("y") < 199, F.col("y")).otherwise(F.raise_error(F.lit("no row"))))
    df = df.withColumn("y", F.col("y").cast("bigint"))
    with pytest.raises(Exception, match="no row"):
        keep(df, fields_of(df), StagingFolder(str(tmp_path), spark))
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_died_while_writing_is_written_again_and_cleaned_up(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    df = rows(spark)
    place = StagingFolder(str(tmp_path), spark)
    keep(df, fields_of(df), place)
    (left,) = tmp_path.iterdir()
    (left / store.MANIFEST).unlink()
    assert not keep(df, fields_of(df), place).reused
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + leases.SECONDS + 60)
    assert keep(df, fields_of(df), place).reused
    assert not left.exists()


def test_rows_are_kept_where_param_or_conf_say(spark: SparkSession, tmp_path: Path) -> None:
    assert keeping_base(SessionFacts.read(spark), None) is None
    spark.conf.set(CACHE_CONF, tmp_path.as_uri())
    try:
        assert keeping_base(SessionFacts.read(spark), None) == str(tmp_path)
        assert keeping_base(SessionFacts.read(spark), "s3://bucket/rows") == "s3://bucket/rows"
    finally:
        spark.conf.unset(CACHE_CONF)


def test_a_manifest_that_is_damaged_is_named_and_passed_over(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = StagingFolder(str(tmp_path), spark)
    df = rows(spark)
    first = keep(df, fields_of(df), place)
    first.close()
    (path,) = tmp_path.glob(f"*/{store.MANIFEST}")
    content = json.loads(path.read_text())
    content["train"]["files"][0]["path"] = "../../elsewhere"
    path.write_text(json.dumps(content))
    again = keep(df, fields_of(df), place)
    assert not again.reused
    assert "this manifest is damaged: 'files'" in caplog.text
    again.close()
    # Nobody holds the damaged one any more.
    assert len(clear_cache(str(tmp_path))) == 2
