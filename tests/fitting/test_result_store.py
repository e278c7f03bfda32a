from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pyspark.sql import SparkSession
from torch import nn

from sparkdl.cluster.driver.results import ResultFolder
from sparkdl.errors import ClusterError
from sparkdl.fitting.result_store import result_folder
from sparkdl.spark.facts import SessionFacts


class Cluster:
    """A session whose master is not local, with one setting more; it is asked for nothing but settings."""

    def __init__(self, default_fs: str, limit: str) -> None:
        hadoop = {"fs.defaultFS": default_fs}
        self.conf = {"spark.master": "spark://host:7077", "spark.driver.maxResultSize": limit}
        self.sparkContext = SimpleNamespace(
            master="spark://host:7077", getConf=dict, _jsc=SimpleNamespace(hadoopConfiguration=lambda: hadoop)
        )


def large() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(20_000, 10_000)


def test_a_host_of_its_own_needs_no_place(spark: SparkSession) -> None:
    with result_folder(spark, SessionFacts.read(spark), large(), None, {}) as folder:
        assert folder is None


@pytest.mark.parametrize(("network", "limit"), [(nn.Linear(2, 3), "1g"), (large(), "0"), (large(), "2g")])
def test_what_spark_carries_needs_no_place(network: nn.Module, limit: str) -> None:
    cluster: Any = Cluster("file:///", limit)
    with result_folder(cluster, SessionFacts.read(cluster), network, None, {}) as folder:
        assert folder is None


def test_weights_without_a_way_back_are_refused_with_both_remedies() -> None:
    cluster: Any = Cluster("file:///", "1g")
    with (
        pytest.raises(
            ClusterError,
            match=r"^the network has 800,040,000 bytes of weights, this driver takes 536,870,912 \(half of "
            r"spark.driver.maxResultSize\), and .* raise spark.driver.maxResultSize, or set cacheUrl$",
        ),
        result_folder(cluster, SessionFacts.read(cluster), large(), None, {}),
    ):
        pass


def test_the_place_of_the_rows_is_that_of_the_weights(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionFacts, "shares_host", False)
    with result_folder(spark, SessionFacts.read(spark), large(), str(tmp_path), {}) as folder:
        assert isinstance(folder, ResultFolder)
        assert Path(folder.write(b"weights").url).parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
