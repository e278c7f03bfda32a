"""The library's callbacks in a fit on two ranks, and what is said of one that raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from sparkdl import TorchRegressor
from sparkdl.errors import RankError
from sparkdl.train import EMA, Callback, LearningRateMonitor, Profiler, TensorBoard, TrainState


class Broken(Callback):
    def on_epoch_end(self, state: TrainState) -> None:
        if state.epoch == 2:
            raise ValueError("out of paper")


def rows(spark: SparkSession) -> DataFrame:
    return spark.range(200).selectExpr("array(cast(id % 7 as float), cast(id % 3 as float)) features", "id % 7 label")


def regressor(**params: Any) -> TorchRegressor:
    return TorchRegressor(module="mlp", batchSize=32, learningRate=0.01, validationFraction=0.2, verbose=0, **params)


def test_all_of_them_in_one_fit(spark: SparkSession, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    callbacks = [
        EMA(0.9),
        LearningRateMonitor(),
        TensorBoard(str(tmp_path / "boards")),
        Profiler(str(tmp_path / "traces"), wait=1, active=2),
    ]
    model = regressor(epochs=3, numProcs=2, callbacks=callbacks, earlyStoppingPatience=3).fit(rows(spark))
    assert [row["lr_0"] for row in model.history] == [pytest.approx(0.01)] * 3
    assert len(list((tmp_path / "boards").glob("*/events.out.tfevents.*"))) == 1
    assert len(list((tmp_path / "traces").glob("*.pt.trace.json"))) == 1
    assert model.transform(rows(spark)).count() == 200


def test_one_that_raises_is_named(spark: SparkSession) -> None:
    with pytest.raises(RankError) as caught:
        regressor(epochs=3, callbacks=[Broken()]).fit(rows(spark))
    first = str(caught.value).partition("\n")[0]
    assert "ValueError: out of paper (raised by Broken.on_epoch_end in epoch 2, step " in first
