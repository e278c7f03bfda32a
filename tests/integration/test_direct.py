"""Fits by feed="direct" on real ranks: what is learned is what files give, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchClassifier, TorchRegressor
from sparkdl.errors import RankError, RankLostError
from sparkdl.train import Callback

MEASURED = ("seconds", "rows_per_second", "wait_share")


@pytest.fixture(scope="module")
def points(spark: SparkSession) -> DataFrame:
    values = [F.rand(seed).alias(f"x{seed}") for seed in range(4)]
    label, weight = (F.col("x0") > F.col("x1")).cast("double"), 1.0 + F.col("id") % 3
    frame = spark.range(3000, numPartitions=3).select("*", *values)
    return frame.select("x0", "x1", "x2", "x3", label.alias("label"), weight.alias("w"))


def classifier(**settings: Any) -> TorchClassifier:
    common: dict[str, Any] = {
        "module": "mlp",
        "moduleParams": {"hidden": [8]},
        "featuresCols": ["x0", "x1", "x2", "x3"],
        "weightCol": "w",
        "validationFraction": 0.2,
        "batchSize": 100,
        "epochs": 2,
        "seed": 11,
        "numProcs": 2,
        "verbose": 0,
        "mlflow": "false",
    }
    return TorchClassifier(**{**common, **settings})


def kept(spark: SparkSession) -> int:
    return int(spark.sparkContext._jsc.getPersistentRDDs().size())


def spooled() -> list[str]:
    """Files without a name that Spark's Python workers and their ranks hold open in the folders of Spark."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
            if "python" in process.name():
                found += [link for link in links if "blockmgr" in link and link.endswith("(deleted)")]
        except (OSError, psutil.Error):
            continue
    return found


def folders() -> set[Path]:
    return {path for path in Path(tempfile.gettempdir()).glob("sparkdl-*") if "prefork" not in path.name}


def assert_nothing_stays(there: set[Path]) -> None:
    """Spool files and folders are gone; those of other programs on this host come and go."""
    deadline = time.monotonic() + 60
    while (spooled() or folders() - there) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert spooled() == []
    assert folders() <= there


def test_two_ranks_learn_bit_for_bit_what_they_learn_from_files(spark: SparkSession, points: DataFrame) -> None:
    before, there = kept(spark), folders()
    parquet, direct = classifier().fit(points), classifier(feed="direct").fit(points)

    histories = [[{k: v for k, v in row.items() if k not in MEASURED} for row in m.history] for m in (parquet, direct)]
    assert histories[0] == histories[1]
    assert "val_loss" in histories[0][0]
    for one, two in zip(parquet.network.state_dict().values(), direct.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert direct.fitSeconds["spool"] > 0
    assert kept(spark) == before
    assert_nothing_stays(there)


def test_rows_are_computed_once_and_the_phase_is_shown(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> None:
    # By value, so that Spark's workers do not import this file.
    def other_each_time(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            values = [random.random() for _ in range(batch.num_rows)]
            yield pa.RecordBatch.from_pydict({"features": values, "label": values})

    frame = spark.range(200, numPartitions=2).mapInArrow(other_each_time, "features double, label double")
    model = TorchRegressor(module="mlp", feed="direct", batchSize=50, verbose=2, mlflow="false").fit(frame)
    assert model.history[0]["rows"] == 200
    assert "spooling rows on the ranks' hosts" in capfd.readouterr().err


class Fails(Callback):
    """Sees a file that its task holds, then raises, or ends its rank by a signal."""

    def __init__(self, kill: bool) -> None:
        self.kill = kill

    def on_epoch_end(self, state: Any) -> None:
        if state.rank == 1:
            assert any("blockmgr" in os.readlink(f"/proc/self/fd/{fd}") for fd in list_descriptors())
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("mine")


class DiesOnce(Callback):
    """Ends rank 1 by a signal in its first life."""

    def __init__(self, folder: Path) -> None:
        self.died = str(folder / "died")

    def on_epoch_end(self, state: Any) -> None:
        if state.rank == 1 and not os.path.exists(self.died):
            Path(self.died).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def list_descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


@pytest.mark.parametrize("kill", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_rank_that_fails_leaves_nothing(spark: SparkSession, points: DataFrame, kill: bool) -> None:
    before, there = kept(spark), folders()
    with pytest.raises(RankLostError if kill else RankError, match="SIGKILL" if kill else "ArithmeticError: mine"):
        classifier(feed="direct", callbacks=[Fails(kill)]).fit(points)
    assert kept(spark) == before
    assert_nothing_stays(there)


def test_a_new_start_after_a_lost_rank_has_all_rows_again(
    spark: SparkSession, points: DataFrame, tmp_path: Path
) -> None:
    before, there = kept(spark), folders()
    restarted = classifier(feed="direct", maxRestarts=1, callbacks=[DiesOnce(tmp_path)]).fit(points)
    assert (tmp_path / "died").exists()
    undisturbed = classifier(feed="direct").fit(points)
    assert [row["rows"] for row in restarted.history] == [row["rows"] for row in undisturbed.history]
    for one, two in zip(
        restarted.network.state_dict().values(), undisturbed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert kept(spark) == before
    assert_nothing_stays(there)
