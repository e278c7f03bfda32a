"""Fits on real ranks: what is learned, and that the number of ranks changes nothing but the speed."""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import Tensor, nn

from sparkdl import SparkDLError, TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.train import Callback

ROWS = 600


@pytest.fixture(scope="module")
def points(spark: SparkSession) -> DataFrame:
    """Two numbers; the label is which of them is greater, w is 1 or 2, held marks every fifth row."""
    numbers = np.random.default_rng(5).random((ROWS, 2))
    rows = [(float(a), float(b), float(a > b), 1.0 + i % 2, i % 5 == 0) for i, (a, b) in enumerate(numbers.tolist())]
    frame = spark.createDataFrame(rows, "a double, b double, label double, w double, held boolean").repartition(3)
    frame = frame.cache()
    assert frame.count() == ROWS
    return frame


def classifier(**settings: Any) -> TorchClassifier:
    common: dict[str, Any] = {
        "module": "mlp",
        "moduleParams": {"hidden": [8]},
        "featuresCols": ["a", "b"],
        "batchSize": 50,
        "learningRate": 0.05,
        "epochs": 3,
        "seed": 11,
        "verbose": 0,
    }
    return TorchClassifier(**{**common, **settings})


def weights(model: Any) -> Tensor:
    return torch.cat([value.flatten() for value in model.network.state_dict().values()])


@pytest.mark.parametrize("feed", ["parquet", "direct"])
def test_a_fit_reads_a_setting_of_the_session_once(
    points: DataFrame, feed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = type(points.sparkSession.conf)
    read, asked = settings.get, Counter[str]()

    def count(conf: Any, key: str, *default: Any) -> Any:
        # pyspark reads settings of its own.
        if sys._getframe(1).f_globals["__name__"].startswith("sparkdl"):
            asked[key] += 1
        return read(conf, key, *default)

    monkeypatch.setattr(settings, "get", count)
    classifier(epochs=1, backend="local", feed=feed).fit(points)
    assert asked["spark.sql.caseSensitive"] == 1
    assert [key for key, times in asked.items() if times > 1] == []


def test_two_ranks_learn_what_one_learns(points: DataFrame) -> None:
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index,union-attr]
    held: dict[str, Any] = {"validationIndicatorCol": "held"}
    one = classifier(**held).fit(points)
    two = classifier(numProcs=2, **held).fit(points)
    scored = two.transform(points)
    accuracy = scored.filter("prediction = label").count() / ROWS

    assert torch.allclose(weights(one), weights(two), atol=1e-5)
    assert [row["rows"] for row in two.history] == [ROWS * 4 // 5] * 3
    assert two.history[-1]["val_accuracy"] == pytest.approx(one.history[-1]["val_accuracy"], abs=1e-3)
    assert two.history[-1]["loss"] < two.history[0]["loss"]
    assert set(two.history[0]) == {
        *("epoch", "loss", "accuracy", "val_loss", "val_accuracy"),
        *("lr", "rows", "seconds", "rows_per_second", "wait_share"),
    }
    assert accuracy > 0.95
    assert BinaryClassificationEvaluator().evaluate(scored) > 0.98
    assert set(two.fitSeconds) == {"check", "materialize", "start", "train", "build"}
    assert (two.numClasses, two.numFeatures) == (2, 2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index,union-attr]
    assert random.getstate() == states[2]


def test_weight_two_is_the_row_twice(points: DataFrame) -> None:
    few = points.filter("held")
    twice = few.unionAll(few.filter("w = 2"))
    common: dict[str, Any] = {"batchSize": 1000, "epochs": 4, "shuffle": False, "metrics": []}
    weighted = classifier(weightCol="w", **common).fit(few)
    repeated = classifier(**common).fit(twice)
    plain = classifier(**common).fit(few)

    assert torch.allclose(weights(weighted), weights(repeated), atol=1e-4)
    assert not torch.allclose(weights(weighted), weights(plain), atol=1e-3)
    assert weighted.history[-1]["loss"] == pytest.approx(repeated.history[-1]["loss"], abs=1e-4)


class StopAt(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, state: Any) -> None:
        if state.epoch == self.epoch:
            state.stop()


def test_training_ends_early(points: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = classifier(
        epochs=30,
        learningRate=1e-9,
        optimizer="sgd",
        validationFraction=0.3,
        earlyStoppingPatience=2,
        metrics=[],
        verbose=1,
    ).fit(points)
    called = classifier(epochs=30, callbacks=[StopAt(2)]).fit(points)

    assert len(stopped.history) == 3
    assert stopped.history.best_epoch == 1
    assert capsys.readouterr().err.endswith("stopped after epoch 3, weights of epoch 1\n")
    assert stopped.history[0]["rows"] + 100 < ROWS
    assert len(called.history) == 2


class TwoHeads(nn.Module):
    """Takes two inputs, returns the logits of three classes and a number by the names of their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Linear(3, 1)
        self.classes = nn.Linear(3, 3)

    def forward(self, pair: Tensor, scalar: Tensor) -> dict[str, Tensor]:
        joined = torch.cat([pair, scalar.float()], dim=1)
        return {"third.part": self.classes(joined), "number": self.number(joined)}


def test_several_inputs_and_labels(points: DataFrame) -> None:
    frame = points.select(
        F.array("a", "b").alias("pair"),
        F.col("w").cast("int").alias("a scalar"),
        (2 * F.col("a") - F.col("b")).alias("number"),
        F.floor(3 * F.col("a")).cast("int").alias("third.part"),
    )
    estimator = TorchEstimator(
        module=TwoHeads,
        inputCols=["pair", "a scalar"],
        labelCols=["number", "third.part"],
        outputCols=["guess", "logits"],
        loss=["mse", "cross_entropy"],
        lossWeights=[1.0, 0.5],
        optimizer="adam",
        learningRate=0.05,
        batchSize=60,
        epochs=15,
        verbose=0,
    )
    model = estimator.fit(frame)
    scored = model.transform(frame)
    error = scored.select(F.avg((F.col("guess") - F.col("number")) ** 2)).first()[0]  # type: ignore[index]

    # The network returns its outputs in another order than that of labelCols.
    assert model.getOutputCols() == ["logits", "guess"]
    foreseen = {field.name: field for field in estimator.transformSchema(frame.schema)}
    assert foreseen == {field.name: field for field in scored.schema}
    assert dict(scored.dtypes)["guess"] == "double"
    assert dict(scored.dtypes)["logits"] == "array<float>"
    assert len(scored.first()["logits"]) == 3  # type: ignore[index]
    assert error < 0.05
    assert len(model.history) == 15


def test_a_module_is_trained_from_its_weights_and_left_as_it_is(points: DataFrame) -> None:
    network = nn.Sequential(nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[3.0, -1.0]]))
        network[0].bias.zero_()
    before = network[0].weight.clone()
    frame = points.withColumn("y", 3 * F.col("a") - F.col("b"))
    model = TorchRegressor(
        module=network, featuresCols=["a", "b"], labelCol="y", predictionCol="out", learningRate=1e-3, verbose=0
    ).fit(frame)

    assert model.history[0]["loss"] < 1e-3
    assert torch.equal(network[0].weight, before)
    assert model.network is not network
    assert model.transform(frame).select(F.max(F.abs(F.col("out") - F.col("y")))).first()[0] < 0.1  # type: ignore[index]


def plain_mean(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def halve(optimizer: torch.optim.Optimizer, total_steps: int) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < total_steps // 2 else 0.5)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def test_functions_of_the_user_reach_the_ranks(points: DataFrame) -> None:
    model = TorchRegressor(
        module=lambda width: nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1)),
        moduleParams={"width": 6},
        featuresCols=["a", "b"],
        labelCol="a",
        loss=plain_mean,
        metrics=[plain_mean],
        optimizer=sgd,
        lrSchedule=halve,
        epochs=2,
        numProcs=2,
        verbose=0,
    ).fit(points)

    assert model.history[0]["lr"] == pytest.approx(0.1)
    assert model.history[1]["lr"] == pytest.approx(0.05)
    assert model.history[1]["plain_mean"] < model.history[0]["plain_mean"]


def failing(output: Tensor, target: Tensor) -> Tensor:
    if output.shape[0] != 2:
        raise ArithmeticError("only while it trains")
    return (output - target).square().mean(1)


def test_an_error_of_the_user_comes_back(points: DataFrame) -> None:
    with pytest.raises(SparkDLError, match="only while it trains"):
        TorchRegressor(module="mlp", featuresCols=["a", "b"], loss=failing, numProcs=2, verbose=0).fit(points)


def test_class_weights_count_as_rows_do(points: DataFrame) -> None:
    uneven = points.filter("label = 1 or held").drop("held")
    common: dict[str, Any] = {"batchSize": 1000, "metrics": [], "shuffle": False, "epochs": 2}
    balanced = classifier(classWeights="balanced", **common).fit(uneven)
    counts = {row["label"]: row["count"] for row in uneven.groupBy("label").count().collect()}
    total = sum(counts.values())
    given = classifier(classWeights=[total / (2 * counts[0.0]), total / (2 * counts[1.0])], **common).fit(uneven)
    plain = classifier(**common).fit(uneven)

    assert torch.allclose(weights(balanced), weights(given), atol=1e-5)
    assert not torch.allclose(weights(balanced), weights(plain), atol=1e-4)


def test_every_row_of_a_random_plan_is_used_once(spark: SparkSession) -> None:
    frame = spark.range(300, numPartitions=3).select(F.rand().alias("a"), F.rand().alias("b"))
    frame = frame.filter("a < 0.7").withColumn("label", F.col("b"))
    model = TorchRegressor(module="mlp", featuresCols=["a", "b"], epochs=3, numProcs=2, verbose=0).fit(frame)

    assert len({row["rows"] for row in model.history}) == 1
    assert 100 < model.history[0]["rows"] < 300
