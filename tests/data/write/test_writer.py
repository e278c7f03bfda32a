"""A DataFrame written by real tasks and read back: values, counts, splits, images, and what cannot be packed."""

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

from sparkdl.data.format.manifest import Manifest
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.sampling.plan import Plan
from sparkdl.data.write import Dataset, StagingFolder, materialize, schema_of
from sparkdl.errors import DataError, SettingError
from sparkdl.schema import DataSchema
from sparkdl.spark.session import with_conf


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> StagingFolder:
    return StagingFolder(str(tmp_path / "rows"), spark)


def schema(df: DataFrame, inputs: list[str], labels: list[str] | None = None, weight: str | None = None) -> DataSchema:
    return schema_of(df.schema, inputs=[(name, (name,)) for name in inputs], labels=labels or [], weight=weight)


def read(manifest: Manifest) -> Batch:
    """All rows in file order, as one batch."""
    loader = Loader(manifest, Plan.of(manifest, batch_size=max(1, manifest.rows), shuffle=False), 0, 1)
    loader.check()
    (batch,) = loader.epoch(0)
    loader.close()
    return batch  # type: ignore[no-any-return]


def test_every_kind_of_column_comes_back(spark: SparkSession, place: StagingFolder) -> None:
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


def test_dates_and_timestamps_are_days_and_seconds_since_1970(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.sql(
        """select date'1969-12-30' as d, timestamp'1969-12-31 23:59:58.5 UTC' as t,
                  timestamp_ntz'1969-12-31 23:59:58.5' as n, 0.5 as x
           union all select date'9999-12-31', timestamp'2026-11-23 04:05:06.999999 UTC',
                  timestamp_ntz'0001-01-01 00:00:00', 1.5"""
    ).coalesce(1)
    fields = schema_of(
        df.schema,
        inputs=[("d", ("d",)), ("t", ("t",)), ("n", ("n",)), ("dx", ("d", "x")), ("dt", ("d", "t"))],
        labels=["t"],
        weight=None,
    )
    batch = read(materialize(df, fields, place).train)
    assert [x.dtype for x in batch.inputs] == [torch.int64, torch.int64, torch.int64, torch.float32, torch.int64]
    seconds = [-2, 1795406706]
    assert batch.inputs[0].flatten().tolist() == [-2, 2932896]
    assert batch.inputs[1].flatten().tolist() == batch.targets[0].flatten().tolist() == seconds
    assert batch.inputs[2].flatten().tolist() == [-2, -62135596800]
    assert batch.inputs[3].tolist() == [[-2, 0.5], [2932896, 1.5]]
    assert batch.inputs[4].tolist() == [[-2, -2], [2932896, 1795406706]]


def test_masks_tell_padding_from_values(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.createDataFrame(
        [([1, 2, 3], Vectors.dense(1.0)), ([], Vectors.sparse(2, {1: 5.0})), ([0], Vectors.dense(0.0, 0.0))],
        ["a", "v"],
    ).coalesce(1)
    fields = schema_of(df.schema, inputs=[("a", ("a",)), ("v", ("v",))], labels=[], weight=None, masks=True)
    data = materialize(df, fields, place, pad_value=0.0)
    assert [f.shape for f in data.train.schema.fields] == [(3,), (2,), (3,), (2,)]
    assert data.train.counts["a"].shapes == {"3": 3}
    a, v, of_a, of_v = read(data.train).inputs
    assert a.tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 0]]
    assert v.tolist() == [[1, 0], [0, 5], [0, 0]]
    assert of_a.dtype == of_v.dtype == torch.bool
    assert of_a.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    assert of_v.tolist() == [[True, False], [True, True], [True, True]]


def test_wide_sparse_vectors_stay_sparse_up_to_the_batch(spark: SparkSession, tmp_path: Path) -> None:
    size = 100_000
    rows = [
        (Vectors.sparse(size, {0: 1.0, 99_999: -2.0}),),
        (Vectors.sparse(size, {}),),
        (Vectors.dense([0.0] * 7 + [3.0] + [0.0] * (size - 8)),),
        (Vectors.sparse(size, [5, 6, 7], [0.0, float("nan"), 4.0]),),
    ]
    df = spark.createDataFrame(rows, ["v"]).coalesce(1)
    wanted = torch.zeros(4, size)
    wanted[0, 0], wanted[0, 99_999], wanted[2, 7], wanted[3, 6], wanted[3, 7] = 1, -2, 3, torch.nan, 4
    for as_sparse in (False, True):
        fields = schema_of(df.schema, inputs=[("v", ("v",))], labels=[], weight=None, sparse=as_sparse)
        data = materialize(df, fields, StagingFolder(str(tmp_path / str(as_sparse)), spark))
        (field,) = data.train.schema.fields
        assert (field.shape, field.entries) == ((size,), 3)
        assert data.train.files[0].bytes < 10_000
        assert data.train.counts["v"].nans == 1
        (batch,) = read(data.train).inputs
        assert batch.is_sparse == as_sparse
        assert torch.equal(batch.to_dense().nan_to_num(-7), wanted.nan_to_num(-7))


def test_a_null_vector_is_counted_or_filled(spark: SparkSession, tmp_path: Path) -> None:
    df = spark.createDataFrame([(Vectors.sparse(300, {3: 1.0}),), (None,)], ["v"]).coalesce(1)
    for fill, nulls, total in ((None, 1, 1.0), (0.0, 0, 1.0), (2.0, 0, 601.0)):
        data = materialize(df, schema(df, ["v"]), StagingFolder(str(tmp_path / str(fill)), spark), fill_value=fill)
        assert data.train.counts["v"].nulls == nulls
        assert (data.train.schema.fields[0].entries is None) == (fill == 2.0)
        assert read(data.train).inputs[0].sum() == total


def test_a_value_that_whole_numbers_cannot_have_is_refused(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(1).select(F.array("id").alias("a"))
    with pytest.raises(SettingError, match=r"fillValue=0.5 is not a whole number, and column 'a'"):
        materialize(df, schema(df, ["a"]), place, fill_value=0.5)
    with pytest.raises(SettingError, match=r"padValue=0.5 is not a whole number, and column 'a'"):
        materialize(df, schema(df, ["a"]), place, pad_value=0.5)


def test_vectors_dense_and_sparse(spark: SparkSession, place: StagingFolder) -> None:
    rows = [(Vectors.dense(1.0, 2.0, 3.0),), (Vectors.sparse(3, {1: 5.0}),)]
    df = spark.createDataFrame(rows, ["features"]).coalesce(1)
    data = materialize(df, schema(df, ["features"]), place)
    assert read(data.train).inputs[0].tolist() == [[1, 2, 3], [0, 5, 0]]


def test_the_same_rows_have_the_same_hash_wherever_they_lie(spark: SparkSession, tmp_path: Path) -> None:
    def written(name: str, df: DataFrame) -> str:
        return materialize(df, schema(df, ["id"]), StagingFolder(str(tmp_path / name), spark)).train.hash

    df = spark.range(100, numPartitions=2)
    assert written("a", df) == written("b", df)
    assert written("c", df.select((F.col("id") + 1).alias("id"))) != written("a", df)


def test_nulls_nans_and_ragged_rows_are_counted_and_not_written(spark: SparkSession, place: StagingFolder) -> None:
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


def test_the_weights_of_each_class_are_added_up(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(20, numPartitions=3).selectExpr("array(float(id)) x", "id % 3 y", "float(id % 2) / 4 w")
    counts = materialize(df, schema(df, ["x"], ["y"], "w"), place, count_classes=["y"]).train.counts
    assert counts["y"].classes == {"0.0": 7, "1.0": 7, "2.0": 6}
    assert counts["y"].class_weights == {"0.0": 0.75, "1.0": 1.0, "2.0": 0.75}
    plain = materialize(df, schema(df, ["x"], ["y"], None), place, count_classes=["y"]).train.counts
    assert plain["y"].class_weights is None


def test_lengths_that_differ_between_files_are_counted(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(4, numPartitions=2).select(
        F.array_repeat(F.lit(1.0), (F.col("id") / 2).cast("int") + 1).alias("x")
    )
    assert materialize(df, schema(df, ["x"]), place).train.counts["x"].shapes == {"1": 2, "2": 2}


def test_labels_that_are_no_whole_numbers_are_counted(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(10).select((F.col("id") / 2).alias("y"), "id")
    count = materialize(df, schema(df, ["id"], ["y"]), place).train.counts["y"]
    assert (count.non_integers, count.minimum, count.maximum) == (5, 0, 4.5)


def test_fill_and_pad(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.sql(
        """select * from values (1, array(1d, 2d, 3d), 5), (2, array(4d, null), null), (3, null, 6)
        as t(i, x, s) order by i"""
    ).coalesce(1)
    data = materialize(df, schema(df, ["x", "s"]), place, fill_value=-1.0, pad_value=0.0)
    assert {name: count.nulls for name, count in data.train.counts.items()} == {"x": 0, "s": 0}
    batch = read(data.train)
    assert batch.inputs[0].tolist() == [[1, 2, 3], [4, -1, 0], [-1, -1, -1]]
    assert batch.inputs[1].tolist() == [[5], [-1], [6]]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_task_that_finds_only_nulls_fills_them(spark: SparkSession, place: StagingFolder, parts: int) -> None:
    # The first of two partitions, or the first batch of one, has nulls only.
    grid = "array(array(1d, 2d, 3d), array(4d, 5d, 6d))"
    df = spark.range(4, numPartitions=parts).selectExpr(
        "if(id < 2, null, array(1d, 2d)) as whole",
        f"if(id < 2, null, {grid}) as outer",
        f"if(id < 2, array(null, array(1d, null, 1d)), {grid}) as inner",
        f"if(id < 2, array(cast(null as array<double>), null), {grid}) as all_inner",
        "id as never",
    )
    with with_conf(spark, "spark.sql.execution.arrow.maxRecordsPerBatch", "2"):
        data = materialize(df, schema(df, df.columns), place, fill_value=7.0)
    assert [count.nulls for count in data.train.counts.values()] == [0] * 5
    whole, outer, inner, all_inner, never = read(data.train).inputs
    assert whole.tolist() == [[7, 7], [7, 7], [1, 2], [1, 2]]
    assert outer[:2].tolist() == all_inner[:2].tolist() == [[[7, 7, 7], [7, 7, 7]]] * 2
    assert inner[:2].tolist() == [[[7, 7, 7], [1, 7, 1]]] * 2
    assert outer[2:].tolist() == inner[2:].tolist() == all_inner[2:].tolist() == [[[1, 2, 3], [4, 5, 6]]] * 2
    assert never.flatten().tolist() == [0, 1, 2, 3]


def test_nulls_of_which_nobody_knows_the_length_stay(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(3).select(F.lit(None).cast("array<array<double>>").alias("x"))
    assert materialize(df, schema(df, ["x"]), place, fill_value=7.0).train.counts["x"].nulls == 3


def test_columns_whose_names_differ_only_by_case(spark: SparkSession, place: StagingFolder) -> None:
    with with_conf(spark, "spark.sql.caseSensitive", "true"):
        df = spark.range(10, numPartitions=1).select("id", (F.col("id") * 2).alias("y"), (F.col("id") < 3).alias("Y"))
        fields = schema_of(df.schema, inputs=[("id", ("id",))], labels=["y"], weight=None, case_sensitive=True)
        data = materialize(df, fields, place, validation_column="Y", case_sensitive=True)
    assert data.validation is not None
    assert read(data.validation).targets[0].flatten().tolist() == [0, 2, 4]
    assert data.train.counts["y"].minimum == 6


def test_a_label_is_never_filled(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.sql("select * from values (1, 1d), (2, null) as t(x, y)")
    data = materialize(df, schema(df, ["x"], ["y"]), place, fill_value=0.0)
    assert data.train.counts["y"].nulls == 1
    assert data.train.rows == 1


def test_a_validation_column_splits_and_its_nulls_are_counted(spark: SparkSession, place: StagingFolder) -> None:
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
        place = StagingFolder(str(tmp_path / name), spark)
        data = materialize(df, schema(df, ["id"]), place, validation_fraction=0.2, seed=seed)
        assert data.validation is not None
        return data, read(data.validation).inputs[0][:, 0].tolist()

    data, held = split("a", 1)
    assert 300 < len(held) < 500
    assert sorted(held + read(data.train).inputs[0][:, 0].tolist()) == list(range(2000))
    assert split("b", 1)[1] == held
    assert split("c", 2)[1] != held


def test_no_rows(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(0).select("id", F.array("id").alias("x"))
    data = materialize(df, schema(df, ["x"], ["id"]), place, validation_fraction=0.5)
    assert data.validation is not None
    assert (data.train.rows, data.train.files, data.validation.rows) == (0, (), 0)


def test_images(spark: SparkSession, place: StagingFolder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)

    def png(image: np.ndarray) -> bytearray:
        sink = io.BytesIO()
        Image.fromarray(image).save(sink, "PNG")
        return bytearray(sink.getvalue())

    rows = [
        (i, png(image), ("", 4, 5, 3, 16, bytearray(image[:, :, ::-1].tobytes()))) for i, image in enumerate(pixels)
    ]
    struct = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    df = spark.createDataFrame(rows, f"i int, bytes binary, struct {struct}").coalesce(1)
    data = materialize(df, schema(df, ["bytes", "struct"], ["i"]), place)
    batch = read(data.train)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32) / 255
    assert [tensor.dtype for tensor in batch.inputs] == [torch.uint8, torch.uint8]
    assert all(torch.equal(tensor, expected) for tensor in batch.for_network(batch.inputs))
    broken = df.withColumn("bytes", F.when(F.col("i") == 2, F.lit(b"x")).when(F.col("i") > 2, F.col("bytes")))
    other = StagingFolder(place.url + "2", spark)
    count = materialize(broken, schema(broken, ["bytes"]), other).train.counts["bytes"]
    assert (count.nulls, count.undecodable, count.shapes) == (3, 1, {"3,4,5": 3})


def test_many_row_groups_and_no_file_but_those_of_the_manifest(spark: SparkSession, place: StagingFolder) -> None:
    df = spark.range(40_000, numPartitions=2).select("id", F.array_repeat(F.lit(1.0), 20).alias("x"))
    data = materialize(df, schema(df, ["x"], ["id"]), place)
    assert [f.row_groups for f in data.train.files] == [(16_384, 3_616)] * 2
    assert sorted(p.name for p in Path(place.url).iterdir()) == sorted(f.path for f in data.train.files)
    assert read(data.train).targets[0][:, 0].tolist() == list(range(40_000))
    place.remove()
    assert not Path(place.url).exists()


def test_a_folder_that_tasks_cannot_write_is_one_sentence(spark: SparkSession) -> None:
    df = spark.range(4).select(F.col("id").cast("double").alias("x"))
    place = StagingFolder("/dev/null/rows", spark, named="cacheUrl='/dev/null'")
    with pytest.raises(SettingError) as error:
        materialize(df, schema(df, ["x"]), place)
    assert str(error.value) == "invalid cacheUrl='/dev/null': there is a file in its way, choose a folder"
