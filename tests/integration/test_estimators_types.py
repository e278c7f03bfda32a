"""Masks, timestamps, dates, decimals and wide sparse vectors all the way: fit, transform, save, load, transform.

The networks are linear in what they are given and the labels are known functions of the rows, so what is learnt and
predicted is right only if every number arrives as documented, in the ranks and in the scoring alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import TorchRegressionModel, TorchRegressor
from sparkdl.estimators.model import load_local

FIRST_DAY, FIRST_SECOND = 19_723, 1_700_000_000
TRUTH = [1.0, -2.0, 3.0, -1.0]
TERMS = 4096


class Told(nn.Module):
    """Learns how the label was made of the mean word, the day, the second and the price."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def forward(
        self, words: torch.Tensor, day: torch.Tensor, at: torch.Tensor, price: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        assert [words.dtype, day.dtype, at.dtype, price.dtype, mask.dtype] == [
            *(torch.int64, torch.int64, torch.int64, torch.float32, torch.bool)
        ]
        own = mask.float()
        mean = (words.float() * own).sum(1, keepdim=True) / own.sum(1, keepdim=True)
        seen = torch.cat([mean, (day - FIRST_DAY).float() / 200, (at - FIRST_SECOND).float() / 10, price], 1)
        return (seen @ self.weight)[:, None]


class Boxes(nn.Module):
    """Learns how the label was made of the mean of each row's own boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, boxes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert (boxes.shape[1:], mask.shape[1:], mask.dtype) == ((3, 2), (3,), torch.bool)
        # The padding tells on which side of the mask a number stands.
        assert (boxes[~mask] == -5).all()
        own = mask.unsqueeze(2).float()
        mean = (boxes * own).sum(1) / own.sum(1).clamp(min=1)
        return (mean @ self.weight)[:, None]


class Terms(nn.Module):
    """Linear in vectors that stay sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(TERMS, 1))

    def forward(self, terms: torch.Tensor) -> torch.Tensor:
        assert terms.layout is torch.sparse_coo
        return torch.sparse.mm(terms, self.weight)


def scored(model: Any, frame: DataFrame) -> list[tuple[float, float]]:
    """(label, prediction) of each row, by id."""
    rows = model.transform(frame).orderBy("id").select(F.col("label").cast("double"), "prediction").collect()
    return [(row[0], row[1]) for row in rows]


def check(model: TorchRegressionModel, frame: DataFrame, folder: Path) -> None:
    """The model predicts the labels, and does so after it was saved and loaded."""
    predicted = scored(model, frame)
    assert len(predicted) == frame.count()
    assert all(prediction == pytest.approx(label, abs=0.02) for label, prediction in predicted)
    model.save(str(folder))
    assert scored(TorchRegressionModel.load(str(folder)), frame) == predicted


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_masks_times_and_decimals(spark: SparkSession, tmp_path: Path, ranks: int) -> None:
    i = F.col("id")
    words = F.slice(F.array(i % 7, i % 5, i % 3).cast("array<int>"), 1, (i % 3 + 1).cast("int"))
    days, seconds = i * 37 % 200, i * 7 % 10
    frame = spark.range(0, 160, numPartitions=3).select(
        "id",
        words.alias("words"),
        F.date_from_unix_date((days + FIRST_DAY).cast("int")).alias("day"),
        # The fraction is dropped. As float32 these seconds would all be the same.
        F.timestamp_seconds(seconds + FIRST_SECOND + 0.75).alias("at"),
        (i * 31 % 97 / 100).cast("decimal(10,2)").alias("price"),
    )
    mean = F.aggregate("words", F.lit(0.0), lambda total, word: total + word) / F.size("words")
    parts = [mean, days / 200, seconds / 10, F.col("price").cast("double")]
    frame = frame.withColumn("label", sum((c * part for c, part in zip(TRUTH, parts, strict=True)), F.lit(0.0)))
    model = TorchRegressor(
        module=Told(),
        inputCols=["words", "day", "at", "price"],
        padValue=0,
        padMask=True,
        optimizer="adam",
        learningRate=0.1,
        batchSize=40,
        epochs=60,
        numProcs=ranks,
        backend="local" if ranks == 1 else "horovod",
        verbose=0,
    ).fit(frame)

    assert model.network is not None
    assert model.network.weight.tolist() == pytest.approx(TRUTH, abs=0.02)
    check(model, frame, tmp_path / "model")


@pytest.mark.parametrize("feed", ["parquet", "direct"])
def test_arrays_of_arrays_are_padded(spark: SparkSession, tmp_path: Path, feed: str) -> None:
    rng = np.random.default_rng(8)
    rows = []
    for number in range(60):
        boxes = rng.uniform(0, 1, (number % 4, 2)).astype(np.float32)
        mean = boxes.mean(0) if len(boxes) else np.zeros(2)
        rows.append((number, boxes.tolist(), float(mean @ [2.0, -1.0])))
    frame = spark.createDataFrame(rows, "id long, boxes array<array<float>>, label double").repartition(2)
    model = TorchRegressor(
        module=Boxes(),
        featuresCol="boxes",
        padValue=-5,
        padMask=True,
        optimizer="adam",
        learningRate=0.1,
        batchSize=20,
        epochs=60,
        numProcs=1,
        backend="local",
        feed=feed,
        verbose=0,
    ).fit(frame)
    check(model, frame, tmp_path / "model")
    assert model.network is not None
    by_hand = np.full((60, 3, 2), -5, np.float32)
    for number, boxes, _ in rows:
        by_hand[number, : len(boxes)] = np.reshape(boxes, (-1, 2))
    mask = np.arange(3) < np.array([len(boxes) for _, boxes, _ in rows])[:, None]
    wanted = model.network(torch.from_numpy(by_hand), torch.from_numpy(mask)).flatten().tolist()
    local = load_local(tmp_path / "model").predict({"boxes": [boxes for _, boxes, _ in rows]})
    assert np.asarray(local["prediction"]).tolist() == pytest.approx(wanted, abs=1e-6)
    assert [prediction for _, prediction in scored(model, frame)] == pytest.approx(wanted, abs=1e-6)


def test_wide_sparse_vectors_and_a_decimal_label(spark: SparkSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    used = rng.choice(TERMS, 12, replace=False)
    truth = dict(zip(used.tolist(), np.round(rng.normal(size=12), 2).tolist(), strict=True))
    rows = []
    for number in range(120):
        entries = {int(term): 1.0 for term in rng.choice(used, number % 5, replace=False)}
        vector = Vectors.sparse(TERMS, entries)
        label = float(sum(truth[term] for term in entries))
        rows.append((number, Vectors.dense(vector.toArray()) if number == 7 else vector, label))
    frame = spark.createDataFrame(rows, ["id", "terms", "label"]).repartition(2)
    frame = frame.withColumn("label", F.col("label").cast("decimal(8,2)"))
    model = TorchRegressor(
        module=Terms(),
        featuresCol="terms",
        sparseTensors=True,
        optimizer="adam",
        learningRate=0.1,
        batchSize=40,
        epochs=60,
        backend="local",
        cacheUrl=str(tmp_path / "rows"),
        verbose=0,
    ).fit(frame)

    stored = sum(path.stat().st_size for path in (tmp_path / "rows").rglob("*.parquet"))
    assert 0 < stored < 120 * 4 * TERMS / 10
    assert model.network is not None
    learnt = model.network.weight.flatten()
    assert [learnt[term].item() for term in truth] == pytest.approx(list(truth.values()), abs=0.05)
    assert torch.count_nonzero(learnt) == len(truth)
    check(model, frame, tmp_path / "model")
