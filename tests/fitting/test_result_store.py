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
from sparkdl.fitting.result_store import result_folder, weights_bytes
from sparkdl.spark.facts import SessionFacts


class Cluster:
    """A session whose master is not local, with one setting more; it is asked for nothing but settings."""

    def __init__(self, default_fs: str, limit: str, memory: str = "8g") -> None:
        hadoop = {"fs.defaultFS": default_fs}
        self.conf = {
            "spark.master": "spark://host:7077",
            "spark.driver.maxResultSize": limit,
            "spark.driver.memory": memory,
        }
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


@pytest.mark.parametrize(
    ("limit", "memory", "said"),
    [
        (
            "1g",
            "8g",
            r"536,870,912 \(half of spark.driver.maxResultSize\), .* raise spark.driver.maxResultSize, or ",
        ),
        ("2g", "1g", r"134,217,728 \(an eighth of spark.driver.memory\), and .* raise spark.driver.memory, or "),
        ("0", "4g", r"536,870,912 \(an eighth of spark.driver.memory\), and .* raise spark.driver.memory, or "),
    ],
)
def test_weights_without_a_way_back_are_refused_with_both_remedies(limit: str, memory: str, said: str) -> None:
    cluster: Any = Cluster("file:///", limit, memory)
    with (
        pytest.raises(
            ClusterError, match=f"^the network has 800,040,000 bytes of weights, this driver takes {said}set cacheUrl$"
        ),
        result_folder(cluster, SessionFacts.read(cluster), large(), None, {}),
    ):
        pass


def test_a_state_that_is_no_tensor_has_no_bytes() -> None:
    class Stated(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"step": 3}

    module = Stated(2, 3)
    module.register_buffer("near", torch.eye(3).to_sparse())
    assert weights_bytes(module) == 4 * 9 + 3 * (2 * 8 + 4)


def test_the_driver_is_asked_for_its_memory(spark: SparkSession) -> None:
    facts = SessionFacts.read(spark)
    assert facts.driver_memory > 64 << 20
    assert facts.result_limit <= facts.driver_memory // 8


def test_the_place_of_the_rows_is_that_of_the_weights(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionFacts, "shares_host", False)
    with result_folder(spark, SessionFacts.read(spark), large(), str(tmp_path), {}) as folder:
        assert isinstance(folder, ResultFolder)
        assert Path(folder.write(b"weights").url).parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
