"""A DataFrame written by real tasks and read back: values, counts, splits, pictures, and what cannot be packed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl.data.loader import Batch, Loader
from sparkdl.data.manifest import Manifest
from sparkdl.data.materialize import Dataset, Place, materialize, schema_of
from sparkdl.data.plan import Plan
from sparkdl.data.schema import DataSchema
from sparkdl.errors import DataError, SettingError


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> Place:
    return Place(str(tmp_path / "rows"), spark)


def schema(df: DataFrame, inputs: list[str], labels: list[str] | None = None, weight: str | None = None) -> DataSchema:
    return schema_of(df.schema, inputs=[(name, (name,)) for name in inputs], labels=labels or [], weight=weight)


def read(manifest: Manifest) -> Batch:
    """All rows in file order, as one batch."""
    loader = Loader(manifest, Plan.of(manifest, batch_size=max(1, manifest.rows), shuffle=False), 0, 1)
    loader.check()
    (batch,) = loader.epoch(0)
    loader.close()
    return batch  # type: ignore[no-any-return]


def test_every_kind_of_column_comes_back(spark: SparkSession, place: Place) -> None:
    df = spark.range(300, numPartitions=3).select(
        F.col("id").alias("an id.with dot"),
        (F.col("id") % 2 == 0).alias("flag"),
        (F.col("id") / 4).cast("decimal(10,2)").alias("price"),
        F.array(F.col("id") * 2, F.lit(1)).alias("pair"),
        F.array(F.array(F.col("id") / 2), F.array(F.lit(0.5))).alias("nested$"),
        (F.col("id") % 3).cast("double").alias("label"),
        F.col("id").alias("w"),
    )
    fields = schema_of(
        df.schema,
        inputs=[("a", ("an id.with dot",)), ("b", ("flag", "price")), ("c", ("pair",)), ("d", ("nested$",))],
        labels=["label"],
        weight="w",
    )
    data = materialize(df, fields, place, count_classes=["label"])
    assert data.validation is None
    assert data.train.rows == 300
    assert [f.partition for f in data.train.files] == [0, 1, 2]
    assert [f.shape for f in data.train.schema.fields] == [(1,), (2,), (2,), (2, 1), (1,), (1,)]
    batch = read(data.train)
    ids = torch.arange(300)
    assert torch.equal(batch.inputs[0], ids[:, None])
    assert torch.equal(batch.inputs[1], torch.stack([(ids % 2 == 0).float(), ids / 4], 1))
    assert torch.equal(batch.inputs[2], torch.stack([ids * 2, torch.ones_like(ids)], 1))
    assert torch.equal(batch.inputs[3], torch.stack([ids / 2, torch.full((300,), 0.5)], 1)[:, :, None])
    assert torch.equal(batch.targets[0], (ids % 3).float()[:, None])
    assert batch.weights is not None
    assert torch.equal(batch.weights, ids.float())
    counts = data.train.counts
    assert counts["label"].classes == {"0.0": 100, "1.0": 100, "2.0": 100}
    assert counts["label"].non_integers == 0
    assert (counts["a"].minimum, counts["a"].maximum, counts["a"].classes) == (0, 299, None)
    assert counts["d"].shapes == {"2,1": 300}
    assert Manifest.from_json(data.train.to_json()) == data.train


def test_vectors_dense_and_sparse(spark: SparkSession, place: Place) -> None:
    rows = [(Vectors.dense(1.0, 2.0, 3.0),), (Vectors.sparse(3, {1: 5.0}),)]
    df = spark.createDataFrame(rows, ["features"]).coalesce(1)
    data = materialize(df, schema(df, ["features"]), place)
    assert read(data.train).inputs[0].tolist() == [[1, 2, 3], [0, 5, 0]]


def test_the_same_rows_have_the_same_hash_wherever_they_lie(spark: SparkSession, tmp_path: Path) -> None:
    def written(name: str, df: DataFrame) -> str:
        return materialize(df, schema(df, ["id"]), Place(str(tmp_path / name), spark)).train.hash

    df = spark.range(100, numPartitions=2)
    assert written("a", df) == written("b", df)
    assert written("c", df.select((F.col("id") + 1).alias("id"))) != written("a", df)


def test_nulls_nans_and_ragged_rows_are_counted_and_not_written(spark: SparkSession, place: Place) -> None:
    df = spark.sql(
        """select * from values
        (array(1f, 2f), 1d, 1d), (array(1f, null), 1d, 1d), (null, 2.5d, 1d), (array(1f), 1d, 1d),
        (array(3f, double('nan')), 0d, 1d), (array(1f, 2f), null, 1d), (array(1f, 2f), double('inf'), null)
        as t(x, y, w)"""
    ).coalesce(1)
    data = materialize(df, schema(df, ["x"], ["y"], "w"), place, count_classes=["y"])
    counts = data.train.counts
    assert data.train.rows == 2
    assert (counts["x"].nulls, counts["y"].nulls, counts["w"].nulls) == (2, 1, 1)
    assert counts["x"].shapes == {"2": 4, "1": 1}
    assert counts["x"].nans == 1
    assert data.train.schema.fields[0].shape == (2,)
    assert counts["y"].classes == {"0.0": 1, "1.0": 1}


def test_lengths_that_differ_between_files_are_counted(spark: SparkSession, place: Place) -> None:
    df = spark.range(4, numPartitions=2).select(
        F.array_repeat(F.lit(1.0), (F.col("id") / 2).cast("int") + 1).alias("x")
    )
    assert materialize(df, schema(df, ["x"]), place).train.counts["x"].shapes == {"1": 2, "2": 2}


def test_labels_that_are_no_whole_numbers_are_counted(spark: SparkSession, place: Place) -> None:
    df = spark.range(10).select((F.col("id") / 2).alias("y"), "id")
    count = materialize(df, schema(df, ["id"], ["y"]), place).train.counts["y"]
    assert (count.non_integers, count.minimum, count.maximum) == (5, 0, 4.5)


def test_fill_and_pad(spark: SparkSession, place: Place) -> None:
    df = spark.sql(
        """select * from values (1, array(1d, 2d, 3d), 5), (2, array(4d, null), null), (3, null, 6)
        as t(i, x, s) order by i"""
    ).coalesce(1)
    data = materialize(df, schema(df, ["x", "s"]), place, fill_value=-1.0, pad_value=0.0)
    assert {name: count.nulls for name, count in data.train.counts.items()} == {"x": 0, "s": 0}
    batch = read(data.train)
    assert batch.inputs[0].tolist() == [[1, 2, 3], [4, -1, 0], [-1, -1, -1]]
    assert batch.inputs[1].tolist() == [[5], [-1], [6]]


def test_a_label_is_never_filled(spark: SparkSession, place: Place) -> None:
    df = spark.sql("select * from values (1, 1d), (2, null) as t(x, y)")
    data = materialize(df, schema(df, ["x"], ["y"]), place, fill_value=0.0)
    assert data.train.counts["y"].nulls == 1
    assert data.train.rows == 1


def test_a_validation_column_splits_and_its_nulls_are_counted(spark: SparkSession, place: Place) -> None:
    flag = F.when(F.col("id") == 7, None).otherwise(F.col("id") % 5 == 0)
    df = spark.range(50, numPartitions=2).select("id", flag.alias("for validation"))
    data = materialize(df, schema(df, ["id"]), place, validation_column="for validation")
    assert data.validation is not None
    assert read(data.validation).inputs[0][:, 0].tolist() == list(range(0, 50, 5))
    assert data.train.rows == 39
    assert data.train.counts["for validation"].nulls == 1
    with pytest.raises(DataError, match="'id' is bigint, not boolean"):
        materialize(df, schema(df, ["id"]), place, validation_column="id")
    with pytest.raises(SettingError, match="both set"):
        materialize(df, schema(df, ["id"]), place, validation_column="for validation", validation_fraction=0.5)


def test_a_validation_fraction_is_the_same_for_the_same_seed(spark: SparkSession, tmp_path: Path) -> None:
    df = spark.range(2000, numPartitions=2)

    def split(name: str, seed: int) -> tuple[Dataset, list[int]]:
        place = Place(str(tmp_path / name), spark)
        data = materialize(df, schema(df, ["id"]), place, validation_fraction=0.2, seed=seed)
        assert data.validation is not None
        return data, read(data.validation).inputs[0][:, 0].tolist()

    data, held = split("a", 1)
    assert 300 < len(held) < 500
    assert sorted(held + read(data.train).inputs[0][:, 0].tolist()) == list(range(2000))
    assert split("b", 1)[1] == held
    assert split("c", 2)[1] != held


def test_no_rows(spark: SparkSession, place: Place) -> None:
    df = spark.range(0).select("id", F.array("id").alias("x"))
    data = materialize(df, schema(df, ["x"], ["id"]), place, validation_fraction=0.5)
    assert data.validation is not None
    assert (data.train.rows, data.train.files, data.validation.rows) == (0, (), 0)


def test_pictures(spark: SparkSession, place: Place) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)

    def png(picture: np.ndarray) -> bytearray:
        sink = io.BytesIO()
        Image.fromarray(picture).save(sink, "PNG")
        return bytearray(sink.getvalue())

    rows = [
        (i, png(picture), ("", 4, 5, 3, 16, bytearray(picture[:, :, ::-1].tobytes())))
        for i, picture in enumerate(pixels)
    ]
    struct = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    df = spark.createDataFrame(rows, f"i int, bytes binary, struct {struct}").coalesce(1)
    data = materialize(df, schema(df, ["bytes", "struct"], ["i"]), place)
    batch = read(data.train)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32) / 255
    assert torch.allclose(batch.inputs[0], expected)
    assert torch.allclose(batch.inputs[1], expected)
    broken = df.withColumn("bytes", F.when(F.col("i") == 2, F.lit(b"x")).when(F.col("i") > 2, F.col("bytes")))
    other = Place(place.url + "2", spark)
    count = materialize(broken, schema(broken, ["bytes"]), other).train.counts["bytes"]
    assert (count.nulls, count.undecodable, count.shapes) == (3, 1, {"3,4,5": 3})


def test_many_row_groups_and_no_file_but_those_of_the_manifest(spark: SparkSession, place: Place) -> None:
    df = spark.range(40_000, numPartitions=2).select("id", F.array_repeat(F.lit(1.0), 20).alias("x"))
    data = materialize(df, schema(df, ["x"], ["id"]), place)
    assert [f.row_groups for f in data.train.files] == [(16_384, 3_616)] * 2
    assert sorted(p.name for p in Path(place.url).iterdir()) == sorted(f.path for f in data.train.files)
    assert read(data.train).targets[0][:, 0].tolist() == list(range(40_000))
    place.remove()
    assert not Path(place.url).exists()
