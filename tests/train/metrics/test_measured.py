"""Metrics over batches equal torchmetrics' and scikit-learn's over all rows at once."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn import metrics as sk

from sparkdl.comm import open_backend
from sparkdl.errors import SettingError
from sparkdl.train.config import TrainConfig
from sparkdl.train.metrics import MetricSet
from sparkdl.train.metrics.names import higher_is_better, recipe_of
from tests.train.loops import SOLO

CPU = torch.device("cpu")


def _measure(outputs, targets, backend=SOLO, cuts=(3, 40, 41), **settings):
    measured = MetricSet(TrainConfig(**settings), backend, CPU)
    for output, target in zip(outputs.tensor_split(cuts), targets.tensor_split(cuts), strict=True):
        measured.update((output,), (target,))
    values = measured.compute()
    assert list(values) == measured.names
    return values


def _multiclass(rows=200, classes=4):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (rows, 1), generator=generator)
    logits = torch.randn(rows, classes, generator=generator)
    logits[torch.arange(rows), labels[:, 0]] += 1.0
    return logits, labels


def _binary(rows=300, width=1):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(2, (rows, 1), generator=generator)
    logits = 3 * torch.randn(rows, width, generator=generator)
    logits[:, -1:] += 4 * labels - 2
    return logits, labels


def test_multiclass_is_scikit_learns():
    logits, labels = _multiclass()
    names = ("accuracy", "precision", "recall", "f1", "F1Score", "auroc", "matthews_corrcoef", "MulticlassAccuracy")
    found = _measure(logits, labels, task="classification", losses=("cross_entropy",), num_classes=4, metrics=names)
    truth, guess, chances = labels[:, 0].numpy(), logits.argmax(1).numpy(), logits.softmax(1).double()
    chances = (chances / chances.sum(1, keepdim=True)).numpy()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert found["precision"] == pytest.approx(sk.precision_score(truth, guess, average="macro"))
    assert (
        found["recall"] == found["MulticlassAccuracy"] == pytest.approx(sk.recall_score(truth, guess, average="macro"))
    )
    assert found["f1"] == found["F1Score"] == pytest.approx(sk.f1_score(truth, guess, average="macro"))
    assert found["matthews_corrcoef"] == pytest.approx(sk.matthews_corrcoef(truth, guess), abs=1e-6)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, chances, multi_class="ovr"), abs=2e-3)


@pytest.mark.parametrize("width", [1, 2])
def test_binary_is_scikit_learns(width):
    logits, labels = _binary(width=width)
    names = ("accuracy", "precision", "recall", "f1", "auroc", "average_precision")
    found = _measure(logits, labels, task="classification", losses=("cross_entropy",), num_classes=2, metrics=names)
    truth = labels[:, 0].numpy()
    score = (logits[:, 0] if width == 1 else logits[:, 1] - logits[:, 0]).numpy()
    guess = (score > 0).astype(int)
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found[name] == pytest.approx(getattr(sk, f"{name}_score")(truth, guess)), name
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, score), abs=2e-3)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(truth, score), abs=5e-3)


@pytest.mark.parametrize("width", [1, 3])
def test_regression_is_scikit_learns(width):
    generator = torch.Generator().manual_seed(2)
    target = torch.randn(150, width, generator=generator) * 10
    output = target + torch.randn(150, width, generator=generator)
    names = ("mse", "mean_absolute_error", "rmse", "r2", "explained_variance", "pearson_corrcoef")
    found = _measure(output, target, metrics=names)
    truth, guess = target.double().numpy(), output.double().numpy()
    assert found["mse"] == pytest.approx(sk.mean_squared_error(truth, guess))
    assert found["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(truth, guess))
    assert found["rmse"] == pytest.approx(math.sqrt(sk.mean_squared_error(truth, guess)))
    assert found["r2"] == pytest.approx(sk.r2_score(truth, guess))
    assert found["explained_variance"] == pytest.approx(sk.explained_variance_score(truth, guess))
    pearson = np.mean([np.corrcoef(truth[:, i], guess[:, i])[0, 1] for i in range(width)])
    assert found["pearson_corrcoef"] == pytest.approx(pearson)


def _largest(output, target):
    return (output - target).abs().max()


def test_functions_are_averaged_by_rows_and_everything_begins_anew():
    output, target = torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(3)
    measured = MetricSet(TrainConfig(metrics=(_largest, "mae")), SOLO, CPU)
    for _ in range(2):
        measured.update((output[:2],), (target[:2],))
        measured.update((output[2:],), (target[2:],))
        assert measured.compute() == {"_largest": pytest.approx((2 * 2 + 3) / 3), "mae": pytest.approx(2.0)}
    assert all(math.isnan(value) for value in measured.compute().values())


@pytest.mark.parametrize("share", [0, 17])
def test_over_three_ranks(ranks, share):
    logits, labels = _multiclass()
    kinds = {"losses": ("cross_entropy",), "metrics": ("accuracy", "f1", "auroc", _guessed_zero)}
    numbers = {"metrics": ("mse", "pearson_corrcoef", "r2")}

    def measure(backend, cut):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            first = _measure(logits[cut], labels[cut], backend, cuts=(10,), **kinds)
            return first, _measure(logits[cut, :1], labels[cut].float(), backend, cuts=(10,), **numbers)

    def on_rank(backend):
        return measure(backend, [slice(0, share), slice(share, 199), slice(199, None)][backend.rank])

    whole = measure(SOLO, slice(None))
    for found in ranks.run(on_rank):
        assert found[0] == pytest.approx(whole[0], rel=1e-6)
        assert found[1] == pytest.approx(whole[1], rel=1e-6)


def _guessed_zero(output, target):
    return (output.argmax(1) == 0).float().mean()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("acuracy",), "'acuracy' is not known: did you mean 'accuracy'"),
        (("confusion_matrix",), "'confusion_matrix' is not known"),
        (("mse", "mse"), "the name 'mse' is taken already"),
        ((3,), "3 is no name"),
        ((dict,), "no torchmetrics class"),
    ],
)
def test_names_that_cannot_work(metrics, message):
    with pytest.raises(SettingError, match=message):
        MetricSet(TrainConfig(metrics=metrics), SOLO, CPU)


@pytest.mark.filterwarnings("ignore:Metric `SpearmanCorrcoef` will save")
def test_metrics_that_would_keep_every_row():
    with pytest.raises(SettingError, match="metric spearman_corrcoef keeps every row"):
        _measure(torch.randn(50, 1), torch.randn(50, 1), metrics=("spearman_corrcoef",))


def test_classes_and_objects_of_torchmetrics():
    output, target = torch.randn(50, 1), torch.randn(50, 1)
    found = _measure(output, target, metrics=(torchmetrics.MeanSquaredError, torchmetrics.MinkowskiDistance(3)))
    assert found["MeanSquaredError"] == pytest.approx((output - target).square().mean().item())
    assert found["MinkowskiDistance"] == pytest.approx((output - target).abs().pow(3).sum().pow(1 / 3).item(), rel=1e-5)


def test_direction():
    for name, better in (("accuracy", True), ("auroc", True), ("mse", False), ("r2", True), ("hinge_loss", False)):
        assert higher_is_better(recipe_of(name)) is better, name
    measured = MetricSet(TrainConfig(metrics=(_largest, "f1")), SOLO, CPU)
    assert measured.maximise("f1") is True
    assert measured.maximise("_largest") is None
    # The first one has no binary form.
    several = MetricSet(TrainConfig(metrics=("exact_match", _largest), losses=("mse", "mse")), SOLO, CPU)
    assert several.directions() == {
        "exact_match_0": True,
        "exact_match_1": True,
        "_largest_0": None,
        "_largest_1": None,
    }


def test_the_state_goes_on_alone_and_together() -> None:
    config = TrainConfig(task="regression", metrics=("mse", "pearson_corr_coef", _half))
    generator = torch.Generator().manual_seed(2)
    output, target = torch.randn(30, 1, generator=generator), torch.randn(30, 1, generator=generator)

    def measured(low: int, high: int) -> MetricSet:
        found = MetricSet(config, open_backend("local"), torch.device("cpu"))
        for start in range(low, high, 5):
            found.update((output[start : start + 5],), (target[start : start + 5],))
        return found

    whole = measured(0, 30).compute()
    alone = MetricSet(config, open_backend("local"), torch.device("cpu"))
    assert alone.load_state_dict([measured(0, 20).state_dict()]) == []
    for start in (20, 25):
        alone.update((output[start : start + 5],), (target[start : start + 5],))
    assert alone.compute() == pytest.approx(whole)
    together = MetricSet(config, open_backend("local"), torch.device("cpu"))
    parts = [measured(0, 10), measured(10, 30)]
    for part in parts:
        # So that the metrics have seen the rows, and not only have them waiting.
        for group in part._groups:
            group._flush()
    assert together.load_state_dict([part.state_dict() for part in parts]) == ["pearson_corr_coef"]
    found = together.compute()
    assert found["mse"] == pytest.approx(whole["mse"])
    assert found["_half"] == pytest.approx(whole["_half"])


def _half(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).abs().mean() / 2


def test_classes_of_pixels_and_labels_that_are_ignored():
    generator = torch.Generator().manual_seed(4)
    settings = {"task": "generic", "losses": ("cross_entropy",), "metrics": ("accuracy", "f1")}
    for classes in (2, 3):
        logits = torch.randn(50, classes, 3, 4, generator=generator)
        labels = torch.randint(classes, (50, 3, 4), generator=generator)
        guess = logits.argmax(1)
        average = "binary" if classes == 2 else "macro"
        found = _measure(logits, labels, **settings)
        assert found["accuracy"] == pytest.approx((guess == labels).double().mean().item())
        assert found["f1"] == pytest.approx(sk.f1_score(labels.flatten(), guess.flatten(), average=average))
        # The labels of an array column are one row of numbers.
        labels[:, 1] = -100
        labels[:4] = -100
        kept = labels != -100
        found = _measure(logits, labels.reshape(50, 12), **settings)
        assert found["accuracy"] == pytest.approx((guess == labels)[kept].double().mean().item())
        assert found["f1"] == pytest.approx(sk.f1_score(labels[kept], guess[kept], average=average))


def test_a_metric_that_cannot_be_computed_is_nan():
    def of_two_classes(output, target):
        if len(target.unique()) < 2:
            raise ValueError("only one class")
        return 1.0

    measured = MetricSet(TrainConfig(metrics=("r2", "mae", of_two_classes)), SOLO, CPU)
    measured.update((torch.ones(1, 1),), (torch.zeros(1, 1),))
    values = measured.compute()
    assert math.isnan(values["r2"])
    assert math.isnan(values["of_two_classes"])
    assert values["mae"] == 1
    assert measured.reasons["of_two_classes"] == "ValueError: only one class"
    assert "at least two samples" in measured.reasons["r2"]
    measured.update((torch.ones(4, 1),), (torch.arange(4.0)[:, None],))
    assert not any(map(math.isnan, measured.compute().values()))
