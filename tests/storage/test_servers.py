"""S3 and HDFS as they are, on loopback: files, leases, dead writers, existing Parquet, kept rows, fits on two ranks."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchRegressionModel, TorchRegressor
from sparkdl.data import clear_cache, make_spark_converter, open_parquet
from sparkdl.data.cache import store as cache
from sparkdl.data.converter import converter as converter_module
from sparkdl.storage import leases, urls
from sparkdl.train.checkpoint.folder import CheckpointFolder, snapshot
from tests.servers.hdfs import hdfs_server
from tests.servers.s3 import s3_server

pytestmark = pytest.mark.release

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


def test_leases(store: Store) -> None:
    folder, options = store
    urls.make_folder(folder, options)
    assert leases.held_until(folder, options) == 0
    leases.hold(folder, "a", options)
    first = leases.held_until(folder, options)
    assert first > time.time()
    leases.hold(folder, "b", options)
    leases.release(folder, "a", options)
    assert leases.held_until(folder, options) >= first
    leases.hold(folder, "b", options)
    assert [name for name, _ in urls.list_folder(folder, options)] == [leases.name_of("b")]
    leases.release(folder, "b", options)
    leases.release(folder, "b", options)
    assert leases.held_until(folder, options) == 0


def test_entries_of_a_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    base, options = store
    key, name = cache.key_of({"schema": []}), cache.new_entry(cache.key_of({"schema": []}))
    assert cache.look(base, key, options) == []
    cache.begin(base, name, "writer", options)
    assert cache.look(base, key, options) == []
    with urls.write_atomic(urls.join(base, name, "part"), options) as stream:
        stream.write(b"rows")
    content = {"checksum": "1-ff", "files": {"part": 4}}
    cache.publish(base, name, content, options)
    assert cache.look(base, key, options) == [name]
    assert cache.take(base, name, "1-fe", "reader", options) is None
    assert cache.take(base, name, "1-ff", "reader", options) == content
    cache.leave(base, name, "writer", options)
    assert clear_cache(base, storage_options=options) == []
    cache.leave(base, name, "reader", options)
    assert clear_cache(base, older_than=3600, storage_options=options) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + cache.KEEP_SECONDS + 60)
    assert cache.look(base, key, options) == []
    assert urls.list_folder(base, options) == []


WRITER = """
import json, sys, time
from sparkdl.data.cache import store as cache
from sparkdl.storage import urls
base, name, options = json.loads(sys.stdin.readline())
cache.begin(base, name, "writer", options)
with urls.write_atomic(urls.join(base, name, "part"), options) as stream:
    # More than s3fs keeps in memory: some of it is at the server.
    for _ in range(64):
        stream.write(bytes(1 << 20))
    stream.flush()
    print("half", flush=True)
    time.sleep(600)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_is_taken_for_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, options = store
    key, name = cache.key_of({"schema": []}), cache.new_entry(cache.key_of({"schema": []}))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdin is not None
            assert writer.stdout is not None
            print(json.dumps([base, name, options]), file=writer.stdin, flush=True)
            assert writer.stdout.readline() == "half\n"
        finally:
            writer.kill()
    assert cache.look(base, key, options) == []
    assert cache.take(base, name, "1-ff", "reader", options) is None
    assert not urls.exists(urls.join(base, name, "part"), options)
    assert clear_cache(base, storage_options=options) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + leases.SECONDS + 60)
    assert clear_cache(base, storage_options=options) == [name]
    assert urls.list_files(base, options) == []


def test_checkpoints(store: Store) -> None:
    url, options = store
    folder = CheckpointFolder(urls.join(url, "job"), options)
    for step in (3, 12, 7):
        state = {"weights": torch.arange(3 << 20, dtype=torch.float32) + step, "epoch": step}
        folder.write(snapshot(step, state, {"run": "one"}))
    assert folder.steps() == [3, 7, 12]
    read, about = folder.read(12)
    assert torch.equal(read["weights"], torch.arange(3 << 20, dtype=torch.float32) + 12)
    assert about == {"run": "one"}
    urls.remove(urls.join(url, "job", "step-000000000007", "checkpoint.json"), options)
    assert folder.steps() == [3, 12]
    folder.remove_incomplete()
    folder.remove(3)
    assert [name.partition("/")[0] for name, _ in urls.list_files(urls.join(url, "job"), options)] == [
        "step-000000000012"
    ] * 2


def test_a_fit_goes_on_from_a_checkpoint(spark: SparkSession, store: Store) -> None:
    url, options = store
    frame = spark.range(200).selectExpr("array(cast(id % 7 as float)) features", "cast(id % 7 as double) label")
    params = {"module": "mlp", "batchSize": 32, "numProcs": 2, "backend": "torch", "verbose": 0}
    stored = {"checkpointUrl": url, "storageOptions": options}
    first = TorchRegressor(epochs=1, **params, **stored).fit(frame)
    longer = TorchRegressor(epochs=2, **params, **stored).fit(frame)
    undisturbed = TorchRegressor(epochs=2, **params).fit(frame)
    assert longer.history[0] == first.history[0]
    states = longer.network.state_dict(), undisturbed.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len(TorchRegressionModel.fromCheckpoint(url, options).history) == 2


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


def test_fits_on_two_ranks_find_the_rows_of_the_first(spark: SparkSession, store: Store) -> None:
    url, options = store
    frame = spark.range(0, 400, numPartitions=3).select(
        (F.col("id") / 400).alias("x"), (F.col("id") / 200 - 1).alias("label")
    )
    estimator = TorchRegressor(
        featuresCols=["x"],
        module="mlp",
        epochs=3,
        batchSize=50,
        learningRate=0.02,
        numProcs=2,
        seed=1,
        cacheUrl=url,
        storageOptions=options,
    )
    first = estimator.fit(frame)
    assert [row["rows"] for row in first.history] == [400] * 3
    assert first.history[-1]["loss"] < first.history[0]["loss"]
    (kept,) = [name for name, _ in urls.list_folder(url, options)]
    second = estimator.fit(frame.repartition(2))
    assert [name for name, _ in urls.list_folder(url, options)] == [kept]
    assert [row["loss"] for row in second.history] == pytest.approx([row["loss"] for row in first.history])
    assert clear_cache(url, storage_options=options) == [kept]
    assert urls.list_files(url, options) == []
