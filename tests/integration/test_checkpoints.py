"""Fits with checkpoints: lost ranks, another program that goes on, jobs beside each other, models of checkpoints."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from torch import nn

from sparkdl import TorchClassificationModel, TorchModel, TorchRegressionModel
from sparkdl.errors import ClusterError, PersistenceError, RankError, SettingError
from sparkdl.train import Callback, TrainState
from tests.integration.faults import assert_equal, regressor, rows_of


class Fail(Callback):
    """Ends rank 1 once, at a step, by a signal or by an exception."""

    def __init__(self, folder: str, step: int, how: str) -> None:
        self._folder, self._step, self._how = folder, step, how

    def on_step_end(self, state: TrainState) -> None:
        marker = Path(self._folder) / f"failed-{self._how}"
        if state.step != self._step or state.rank != state.size - 1 or marker.exists():
            return
        # What is being written now counts.
        marker.touch()
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("mine")


class Drifting(nn.Module):
    """Learns numbers that are no part of its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.mean = torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += len(x)
            self.mean = self.mean.lerp(x.mean(0), 0.2)
        return self.layer(x - self.mean)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return rows_of(spark).repartition(3).cache()


def jobs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"\w+-[0-9a-f]{24}", path.name))


@pytest.mark.parametrize("feed", ["parquet", pytest.param("direct", marks=pytest.mark.slow)])
def test_a_killed_rank_costs_no_row_and_no_bit(rows: DataFrame, tmp_path: Path, feed: str, capfd: Any) -> None:
    undisturbed = regressor(feed=feed, callbacks=[Fail(str(tmp_path), 0, "kill")]).fit(rows)
    disturbed = regressor(
        feed=feed,
        callbacks=[Fail(str(tmp_path), 11, "kill")],
        checkpointUrl=str(tmp_path / "checkpoints"),
        checkpointSteps=2,
        maxRestarts=1,
        verbose=2,
    ).fit(rows)
    assert_equal(disturbed, undisturbed)
    said = capfd.readouterr().err
    assert "restart 1 of 1 with 2 ranks" in said
    assert "resumed in epoch 2, step " in said or "resumed in epoch 1, step " in said
    # The rows were there until the job was done.
    assert not any((tmp_path / "checkpoints").glob("rows/*"))


def test_another_fit_of_the_same_job_goes_on(rows: DataFrame, tmp_path: Path) -> None:
    url = str(tmp_path / "checkpoints")
    settings = {"checkpointUrl": url, "checkpointSteps": 1, "validationFraction": 0.2}
    undisturbed = regressor(validationFraction=0.2).fit(rows)
    with pytest.raises(RankError, match="ArithmeticError: mine"):
        regressor(callbacks=[Fail(str(tmp_path), 9, "raise")], **settings).fit(rows)
    # The rows are kept for who goes on, however they are partitioned then.
    assert len(list((tmp_path / "checkpoints" / "rows").iterdir())) == 1
    resumed = regressor(callbacks=[Fail(str(tmp_path), 9, "raise")], **settings).fit(rows.repartition(2))
    assert_equal(resumed, undisturbed)
    assert list((tmp_path / "checkpoints" / "rows").iterdir()) == []
    assert len(jobs(tmp_path / "checkpoints")) == 1
    # A finished job takes no step; one with another learning rate begins beside it.
    again = regressor(callbacks=[Fail(str(tmp_path), 1, "again")], **settings).fit(rows.repartition(2))
    assert not (tmp_path / "failed-again").exists()
    assert_equal(again, undisturbed)
    other = regressor(callbacks=[Fail(str(tmp_path), 0, "other")], learningRate=0.02, **settings).fit(rows)
    assert len(other.history) == 3
    assert len(jobs(tmp_path / "checkpoints")) == 2
    # More epochs are the same job.
    longer = regressor(callbacks=[Fail(str(tmp_path), 3, "longer")], **{**settings, "epochs": 4}).fit(
        rows.repartition(2)
    )
    assert [row["epoch"] for row in longer.history] == [1, 2, 3, 4]
    assert not (tmp_path / "failed-longer").exists()


def test_a_model_of_a_checkpoint(rows: DataFrame, tmp_path: Path) -> None:
    url = str(tmp_path / "checkpoints")
    learner = regressor(module=Drifting(), moduleParams={}, checkpointUrl=url, numProcs=1)
    model = learner.setParams(validationFraction=0.2, earlyStoppingPatience=1).fit(rows)
    # The model is the network that was trained, its buffers that are not persistent and its plain tensors too.
    assert model.network.seen > 0
    assert model.network.mean.abs().sum() > 0
    model.save(str(tmp_path / "model"))
    for again in (TorchRegressionModel.load(str(tmp_path / "model")), TorchRegressionModel.fromCheckpoint(url)):
        assert torch.equal(again.network.seen, model.network.seen)
        assert torch.equal(again.network.mean, model.network.mean)
    found = TorchRegressionModel.fromCheckpoint(url)
    assert_equal(found, model)
    assert found.history.best_epoch == model.history.best_epoch
    expected, got = (each.transform(rows).select("prediction").collect() for each in (model, found))
    assert sorted(expected) == sorted(got)
    [job] = jobs(tmp_path / "checkpoints")
    steps = sorted(int(path.name.removeprefix("step-")) for path in job.glob("step-*"))
    first = TorchRegressionModel.fromCheckpoint(str(job), step=steps[0])
    assert len(first.history) == 1
    with pytest.raises(PersistenceError, match="there is no checkpoint of step 1, only "):
        TorchRegressionModel.fromCheckpoint(url, step=1)
    with pytest.raises(PersistenceError, match=r"load it with TorchRegressionModel\.load"):
        TorchClassificationModel.fromCheckpoint(url)
    with pytest.raises(PersistenceError, match="there is no checkpoint"):
        TorchModel.fromCheckpoint(str(tmp_path / "nothing"))


@pytest.mark.slow
def test_each_fit_of_a_search_has_its_own(rows: DataFrame, tmp_path: Path) -> None:
    estimator = regressor(checkpointUrl=str(tmp_path / "checkpoints"), numProcs=1, epochs=1)
    grid = ParamGridBuilder().addGrid(estimator.learningRate, [0.01, 0.05]).build()
    search = CrossValidator(
        estimator=estimator, estimatorParamMaps=grid, evaluator=RegressionEvaluator(), numFolds=2, seed=1
    )
    best = search.fit(rows)
    # Two folds of two fits, and the last one over all rows.
    assert len(jobs(tmp_path / "checkpoints")) == 5
    again = search.fit(rows)
    assert best.avgMetrics == again.avgMetrics
    assert len(jobs(tmp_path / "checkpoints")) == 5


@pytest.mark.parametrize(
    ("params", "kind", "said"),
    [
        ({"checkpointSteps": 5}, SettingError, "invalid checkpointSteps=5: there are no checkpoints without a folder"),
        ({"resume": "exact"}, SettingError, "invalid resume='exact': there are no checkpoints without a folder"),
        ({"checkpointUrl": "nfs4://x/y"}, SettingError, "invalid checkpointUrl='nfs4://x/y': no file system"),
        ({"checkpointUrl": "/proc/nothing"}, ClusterError, "checkpointUrl='/proc/nothing' cannot be opened"),
        ({"resume": "maybe"}, SettingError, "invalid resume='maybe': expected"),
        ({"checkpointUrl": "{tmp}", "resume": "exact", "minProcs": 1}, SettingError, "with minProcs=1 a restart may"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_rows(
    rows: DataFrame, tmp_path: Path, params: dict[str, Any], kind: type[Exception], said: str
) -> None:
    given = {name: str(tmp_path) if value == "{tmp}" else value for name, value in params.items()}
    with pytest.raises(kind, match=re.escape(said)):
        regressor(**given).fit(rows)
