"""S3 and HDFS as they are, on loopback: files, existing Parquet, materialised rows and a fit on two ranks."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchRegressor
from sparkdl.data import converter as converter_module
from sparkdl.data import make_spark_converter, open_parquet
from sparkdl.storage import urls
from tests.servers.hdfs import hdfs_server
from tests.servers.s3 import s3_server

pytestmark = pytest.mark.slow

Store = tuple[str, dict[str, Any]]
SERVERS: dict[str, Callable[[Path], AbstractContextManager[Store]]] = {"s3": s3_server, "hdfs": hdfs_server}


@pytest.fixture(scope="module", params=["s3", "hdfs"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(server: Store) -> Store:
    """A folder of its own for each test."""
    url, options = server
    return urls.join(url, uuid.uuid4().hex), options


def test_files(store: Store) -> None:
    base, options = store
    folder, url = urls.join(base, "folder"), urls.join(base, "folder", "file one")
    urls.make_folder(folder, options)
    assert urls.list_files(folder, options) == []
    for text in (b"one", b"hello"):
        with urls.write_atomic(url, options) as stream:
            stream.write(text)
    assert urls.exists(url, options)
    assert urls.is_file(url, options)
    assert not urls.is_file(folder, options)
    assert urls.size(url, options) == 5
    with urls.open_read(url, options) as stream:
        assert stream.read() == b"hello"
    with suppress(ZeroDivisionError), urls.write_atomic(urls.join(folder, "half"), options) as stream:
        stream.write(b"half")
        stream.write(bytes(1 // 0))
    with urls.write_atomic(urls.join(folder, "deep", "two"), options) as stream:
        stream.write(b"!")
    assert urls.list_files(folder, options) == [("deep/two", 1), ("file one", 5)]
    urls.rename(url, urls.join(folder, "deep", "two"), options)
    assert urls.list_files(folder, options) == [("deep/two", 5)]
    with pytest.raises(FileNotFoundError):
        urls.size(url, options)
    urls.remove(folder, options)
    urls.remove(folder, options)
    assert urls.list_files(folder, options) == []


def test_existing_parquet(spark: SparkSession, store: Store) -> None:
    url, options = store
    urls.make_folder(url, options)
    files = converter_module.FEW_FILES + 2
    for number in range(files):
        ids = np.arange(number * 10, number * 10 + 10)
        with urls.write_atomic(urls.join(url, f"{number:02d}.parquet"), options) as stream:
            pq.write_table(pa.table({"id": ids, "half": ids / 2}), stream, row_group_size=7)
    converter = open_parquet(url, storage_options=options)
    assert len(converter) == 10 * files
    ids = []
    for rank in range(2):
        with converter.make_torch_dataloader(32, 1, cur_shard=rank, shard_count=2) as loader:
            for batch in loader:
                assert batch["half"].tolist() == (batch["id"] / 2).tolist()
                ids.append(batch["id"].tolist())
    assert sorted(itertools.chain(*ids)) == list(range(10 * files))


def test_materialised_rows(spark: SparkSession, store: Store) -> None:
    url, options = store
    converter = make_spark_converter(spark.range(0, 500, numPartitions=3), cache_url=url, storage_options=options)
    assert all(urls.exists(file, options) for file in converter.file_urls)
    with converter.make_torch_dataloader(64, 1) as loader:
        ids = [batch["id"].tolist() for batch in loader]
    assert sorted(itertools.chain(*ids)) == list(range(500))
    converter.delete()
    assert [name for name, _ in urls.list_files(url, options) if name.endswith(".parquet")] == []


def test_a_fit_on_two_ranks(spark: SparkSession, store: Store) -> None:
    url, options = store
    frame = spark.range(0, 400, numPartitions=3).select(
        (F.col("id") / 400).alias("x"), (F.col("id") / 200 - 1).alias("label")
    )
    settings: dict[str, Any] = {"cacheUrl": url, "storageOptions": options}
    model = TorchRegressor(
        featuresCols=["x"], module="mlp", epochs=3, batchSize=50, learningRate=0.02, numProcs=2, seed=1, **settings
    ).fit(frame)
    assert [row["rows"] for row in model.history] == [400] * 3
    assert model.history[-1]["loss"] < model.history[0]["loss"]
