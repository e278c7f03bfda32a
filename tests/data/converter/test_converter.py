"""make_spark_converter: every type of column, what is refused, and the same rows over the ranks of HorovodRunner."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl import HorovodRunner
from sparkdl.data import SparkDatasetConverter, make_spark_converter
from sparkdl.errors import DataError, SettingError


def image(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), shade, dtype=np.uint8)).save(stream, "png")
    return stream.getvalue()


def test_columns_become_tensors_and_delete_removes_the_rows(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        (i, i / 3, [i / 7, 0.0], [[i, 1], [2, 3]], Vectors.sparse(3, [1], [i / 9]), image(i), i % 2 == 0)
        for i in range(10)
    ]
    names = ["id", "a.b", "array", "nested", "vector", "image", "even"]
    frame = spark.createDataFrame(rows, names).withColumn("float", F.col("id").cast("float") / F.lit(3).cast("float"))
    frame = frame.withColumn("float", F.col("float").cast("float"))
    converter = make_spark_converter(frame, dtype=None, cache_url=str(tmp_path))
    assert len(converter) == converter.dataset_size == 10
    assert converter.dtype is None
    assert converter.columns["id"] == ()
    assert converter.columns["image"] == (3, 4, 5)
    assert all(Path(url).exists() for url in converter.file_urls)
    with converter.make_torch_dataloader(batch_size=10, num_epochs=1) as loader:
        (batch,) = loader
    ids = batch["id"]
    assert sorted(ids.tolist()) == list(range(10))
    assert ids.dtype == batch["nested"].dtype == batch["even"].dtype == torch.int64
    assert torch.equal(batch["a.b"], ids / torch.tensor(3.0, dtype=torch.float64))
    assert batch["float"].dtype == torch.float32
    assert torch.equal(batch["array"][:, 0], ids.double() / 7)
    assert torch.equal(batch["nested"][:, 0, 0], ids)
    assert torch.equal(batch["vector"][:, 1], ids.double() / 9)
    assert torch.equal(batch["image"], (ids.float() / 255)[:, None, None, None].expand(-1, 3, 4, 5))
    assert torch.equal(batch["even"], 1 - ids % 2)
    converter.delete()
    converter.delete()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="deleted"):
        converter.make_torch_dataloader()


def test_what_cannot_go_in_is_refused_and_leaves_nothing(spark: SparkSession, tmp_path: Path) -> None:
    base = spark.range(6, numPartitions=2)
    third = F.when(F.col("id") % 3 == 0, None)
    for column, arguments, error, message in (
        (third.otherwise(F.col("id")), {}, DataError, r"column 'x' has 2 rows with a null: .*fill_value"),
        (F.array_repeat(F.col("id"), (F.col("id") / 4).cast("int") + 1), {}, DataError, r"different lengths: 1 \(4"),
        (F.col("id").cast("string"), {}, DataError, "column 'x' is string"),
        (F.col("id"), {"dtype": "float16"}, SettingError, "invalid dtype='float16': expected"),
    ):
        with pytest.raises(error, match=message):
            make_spark_converter(base.withColumn("x", column), cache_url=str(tmp_path), **arguments)
    with pytest.raises(TypeError, match="compression"):
        make_spark_converter(base, compression="zstd")  # type: ignore[call-arg]
    assert list(tmp_path.iterdir()) == []
    ragged = F.when(F.col("id") > 0, F.array_repeat(F.col("id") * 0.5, F.col("id").cast("int")))
    filled = make_spark_converter(
        base.withColumn("x", third.otherwise(F.col("id") * 1.5)).withColumn("y", F.coalesce(ragged, F.array())),
        fill_value=-1.0,
        pad_value=9.0,
    )
    with filled.make_torch_dataloader(6, num_epochs=1, shuffle=False) as loader:
        (batch,) = loader
    filled.delete()
    assert batch["x"].tolist() == [-1, 1.5, 3, -1, 6, 7.5]
    assert batch["y"][3].tolist() == [1.5, 1.5, 1.5, 9, 9]


def test_ranks_share_the_rows(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(0, 103, numPartitions=5).withColumn("y", F.col("id") * 2)
    converter = make_spark_converter(frame)

    def main(converter: SparkDatasetConverter, folder: str) -> int:
        import os

        with converter.make_torch_dataloader(batch_size=8, num_epochs=1) as loader:
            seen = [[batch["id"].tolist() for batch in loader] for _ in range(2)]
        Path(folder, os.environ["RANK"]).write_text(json.dumps(seen))
        return loader.steps_per_epoch

    runner = HorovodRunner(np=2, backend="torch", device="cpu")
    assert runner.run(main, converter=converter, folder=str(tmp_path)) == 7
    parts: list[Any] = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)]
    for epoch in range(2):
        assert [len(part[epoch]) for part in parts] == [7, 7]
        assert [[len(ids) for ids in part[epoch]][:-1] for part in parts] == [[8] * 6] * 2
        assert sorted(itertools.chain(*parts[0][epoch], *parts[1][epoch])) == list(range(103))
    assert parts[0][0] != parts[0][1]
    folder = Path(converter.cache_dir_url)
    converter.delete()
    assert not folder.exists()


def test_a_path_is_parquet_that_exists_already(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.5, 2.5]}), tmp_path / "rows.parquet")
    for path in (tmp_path, str(tmp_path), tmp_path.as_uri()):
        converter = make_spark_converter(path, dtype="float64")
        with converter.make_torch_dataloader(batch_size=2, num_epochs=1, shuffling_queue_capacity=0) as loader:
            assert [batch["x"].tolist() for batch in loader] == [[1.5, 2.5]]
        converter.delete()
    assert (tmp_path / "rows.parquet").exists()
    with pytest.raises(SettingError, match="fill_value has no effect on Parquet that exists already"):
        make_spark_converter(tmp_path, fill_value=0.0)
    with pytest.raises(SettingError, match="parent_cache_dir_url and cache_url are two names of one folder"):
        make_spark_converter(tmp_path, parent_cache_dir_url="/a", cache_url="/b")


def test_the_folder_has_petastorms_name_too(spark: SparkSession, tmp_path: Path) -> None:
    converter = make_spark_converter(spark.range(3), parent_cache_dir_url=str(tmp_path))
    assert Path(converter.file_urls[0]).is_relative_to(tmp_path)
    converter.delete()
