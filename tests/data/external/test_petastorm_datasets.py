"""Petastorm's own data sets: the rows that make_reader gives, over any number of ranks; footers read by Spark tasks."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql.types import IntegerType, StringType

from sparkdl.data import open_parquet
from sparkdl.data.converter import converter as converter_module
from sparkdl.data.external.footers import FooterTask
from sparkdl.data.readers.petastorm import compat
from sparkdl.errors import DataError

compat.apply()

from petastorm import make_reader  # noqa: E402
from petastorm.codecs import CompressedImageCodec, CompressedNdarrayCodec, NdarrayCodec, ScalarCodec  # noqa: E402
from petastorm.etl.dataset_metadata import materialize_dataset  # noqa: E402
from petastorm.unischema import Unischema, UnischemaField, dict_to_spark_row  # noqa: E402

SCHEMA = Unischema(
    "Rows",
    [
        UnischemaField("id", np.int32, (), ScalarCodec(IntegerType()), False),
        UnischemaField("matrix", np.float64, (2, None), NdarrayCodec(), False),
        UnischemaField("packed", np.int16, (3,), CompressedNdarrayCodec(), False),
        UnischemaField("image", np.uint8, (4, 5, 3), CompressedImageCodec("png"), False),
        UnischemaField("name", np.str_, (), ScalarCodec(StringType()), False),
    ],
)
ROWS = 60


def row(i: int) -> dict[str, object]:
    return {
        "id": i,
        "matrix": np.arange(6, dtype=np.float64).reshape(2, 3) + i,
        "packed": np.array([i, i + 1, -i], dtype=np.int16),
        "image": np.random.default_rng(i).integers(0, 256, (4, 5, 3), dtype=np.uint8),
        "name": f"row {i}",
    }


@pytest.fixture(scope="module")
def url(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = (tmp_path_factory.mktemp("petastorm") / "rows").as_uri()
    with materialize_dataset(spark, url, SCHEMA, row_group_size_mb=1):
        rows = [dict_to_spark_row(SCHEMA, row(i)) for i in range(ROWS)]
        spark.createDataFrame(rows, SCHEMA.as_spark_schema()).repartition(3).write.parquet(url)
    return url


def test_rows_are_those_of_make_reader(url: str) -> None:
    with make_reader(url, reader_pool_type="dummy", shuffle_row_groups=False) as reader:
        theirs = {int(each.id): each for each in reader}
    assert sorted(theirs) == list(range(ROWS))
    converter = open_parquet(url, ["id", "matrix", "packed", "image"], dtype="float64")
    assert len(converter) == ROWS
    assert converter.columns == {"id": (), "matrix": (2, 3), "packed": (3,), "image": (4, 5, 3)}
    seen = []
    for rank in range(3):
        copy = pickle.loads(pickle.dumps(converter))
        with copy.make_torch_dataloader(7, 1, cur_shard=rank, shard_count=3) as loader:
            batches = list(loader)
        assert len(batches) == 3
        for batch in batches:
            assert batch["image"].dtype == torch.uint8
            assert batch["packed"].dtype == torch.int64
            for place, number in enumerate(batch["id"].tolist()):
                seen.append(number)
                for name in ("matrix", "packed", "image"):
                    assert np.array_equal(batch[name][place].numpy(), getattr(theirs[number], name)), name
    assert sorted(seen) == list(range(ROWS))
    assert open_parquet(url, ["matrix"]).columns == {"matrix": (2, 3)}


def test_text_is_left_out_by_name(url: str) -> None:
    with pytest.raises(DataError, match=r"field 'name' of the Unischema is str.* leave it out"):
        open_parquet(url)


def test_a_unischema_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "a.parquet")
    for content, message in ((Evil(), r"names builtins.eval"), (Decimal(1), "is a Decimal")):
        schema = pa.schema({"x": pa.float64()}, metadata={b"dataset-toolkit.unischema.v1": pickle.dumps(content)})
        pq.write_metadata(schema, tmp_path / "_common_metadata")
        with pytest.raises(DataError, match=message):
            open_parquet(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_footers_are_read_by_tasks(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = converter_module.FEW_FILES + 8
    for number in range(files):
        table = pa.table({"id": np.arange(number * 10, number * 10 + 10)})
        pq.write_table(table, tmp_path / f"{number:03d}.parquet", row_group_size=4)
    here = open_parquet(str(tmp_path)).manifest

    def not_here(self: FooterTask, numbers: object) -> object:
        raise AssertionError("the driver read footers itself")

    monkeypatch.setattr(FooterTask, "read", not_here)
    by_tasks = open_parquet(str(tmp_path))
    assert by_tasks.manifest == here
    assert len(by_tasks) == files * 10
    assert [f.row_groups for f in here.files] == [(4, 4, 2)] * files
