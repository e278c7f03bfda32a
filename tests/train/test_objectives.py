"""Losses equal torch's: weights, classes, shapes; and what does not fit is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparkdl.errors import DataError, NetworkError, SettingError
from sparkdl.train.config import TrainConfig
from sparkdl.train.losses import LOSSES
from sparkdl.train.objectives import Objective, as_outputs

CPU = torch.device("cpu")


def _mean(loss, output, target, weights=None, **settings):
    total, weight = Objective(TrainConfig(losses=(loss,), **settings), CPU)((output,), (target,), weights)
    return float(total / weight)


def _numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["mse", "l1", "huber", "poisson", "bce_with_logits"])
def test_named_losses_are_torchs(name):
    output, target = _numbers(7, 3), _numbers(7, 3, seed=1).abs().clamp(max=1)
    expected = LOSSES[name]()(output, target).item()
    assert _mean(name, output, target) == pytest.approx(expected, rel=1e-6)
    assert _mean(LOSSES[name], output, target) == pytest.approx(expected, rel=1e-6)
    assert _mean(LOSSES[name](), output, target) == pytest.approx(expected, rel=1e-6)
    # Several numbers a row are averaged, so the weight of a row is not the number of its elements.
    weights = torch.arange(7.0)
    rows = LOSSES[name](reduction="none")(output, target).mean(1)
    assert _mean(name, output, target, weights) == pytest.approx(
        ((rows * weights).sum() / weights.sum()).item(), rel=1e-6
    )


@pytest.mark.parametrize("params", [{}, {"label_smoothing": 0.2}, {"ignore_index": 1}])
@pytest.mark.parametrize("dense", [False, True])
def test_class_weights_are_torchs(params, dense):
    output = _numbers(8, 3, 5) if dense else _numbers(8, 3)
    target = torch.arange(40).view(8, 5) % 3 if dense else (torch.arange(8) % 3).view(8, 1)
    truth = target if dense else target.view(8)
    weight = [1.0, 3.0, 0.5]
    expected = functional.cross_entropy(output, truth, weight=torch.tensor(weight), **params).item()
    by_class = _mean("cross_entropy", output, target, class_weights=tuple(weight), loss_params=(params,))
    by_param = _mean("cross_entropy", output, target.float(), loss_params=({**params, "weight": weight},))
    assert by_class == pytest.approx(expected, rel=1e-5)
    assert by_param == pytest.approx(expected, rel=1e-5)


def test_nll_and_probabilities():
    output, target = _numbers(6, 4).log_softmax(1), torch.arange(6) % 4
    assert _mean("nll", output, target.view(6, 1)) == pytest.approx(functional.nll_loss(output, target).item())
    chances = _numbers(6, 4, seed=2).softmax(1)
    assert _mean("cross_entropy", output, chances) == pytest.approx(functional.cross_entropy(output, chances).item())


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_one_logit_is_a_binary_classifier(shape):
    output, target = _numbers(6), torch.tensor([0, 1, 1, 0, 1, 0])
    weights = torch.tensor([2.0, 5.0])[target]
    expected = (
        functional.binary_cross_entropy_with_logits(output, target.float(), weight=weights, reduction="sum")
        / weights.sum()
    )
    for loss in ("cross_entropy", "bce_with_logits"):
        found = _mean(loss, output.view(shape), target.view(6, 1), class_weights=(2.0, 5.0))
        assert found == pytest.approx(expected.item(), rel=1e-6)


def test_pos_weight_from_json():
    output, target = _numbers(6, 1), torch.tensor([0.0, 1, 1, 0, 1, 0]).view(6, 1)
    expected = functional.binary_cross_entropy_with_logits(output, target, pos_weight=torch.tensor([3.0])).item()
    assert _mean("bce_with_logits", output, target, loss_params=({"pos_weight": [3.0]},)) == pytest.approx(expected)


def test_functions_of_rows_and_of_batches():
    output, target, weights = _numbers(5, 2), _numbers(5, 2, seed=1), torch.tensor([0.0, 1, 2, 3, 4])

    def rows(output, target, power=2):
        return (output - target).abs().pow(power).sum(1)

    def batch(output, target):
        return rows(output, target).mean()

    expected = (rows(output, target) * weights).sum() / weights.sum()
    assert _mean(rows, output, target, weights) == pytest.approx(expected.item())
    assert _mean(batch, output, target) == pytest.approx(rows(output, target).mean().item())
    assert _mean(rows, output, target, loss_params=({"power": 3},)) == pytest.approx(
        rows(output, target, 3).mean().item()
    )
    with pytest.raises(SettingError, match="loss batch returns one number for a whole batch, so weightCol"):
        _mean(batch, output, target, weights)
    with pytest.raises(SettingError, match="weightCol and classWeights"):
        _mean(batch, output, torch.zeros(5, 1), class_weights=(1.0, 2.0))


def test_a_function_gets_labels_as_it_expects_them():
    seen = []

    def look(output, target):
        seen.append((tuple(target.shape), target.dtype))
        return output.reshape(len(output), -1).sum(1)

    _mean(look, _numbers(4, 1), torch.ones(4, dtype=torch.int64))
    _mean(look, _numbers(4, 3), torch.ones(4, 1, dtype=torch.int64))
    _mean(look, _numbers(4), torch.ones(4, 1))
    assert seen == [((4, 1), torch.int64), ((4,), torch.int64), ((4,), torch.float32)]
    assert _mean(functional.cross_entropy, _numbers(4, 3), torch.ones(4, 1)) == pytest.approx(
        functional.cross_entropy(_numbers(4, 3), torch.ones(4, dtype=torch.int64)).item()
    )


def test_one_loss_for_all_outputs_and_their_weights():
    outputs, targets = (_numbers(5, 1), _numbers(5, 2)), (torch.zeros(5, 1), torch.zeros(5, 2))
    config = TrainConfig(losses=("mse",), loss_weights=(1.0, 3.0))
    total, weight = Objective(config, CPU)(outputs, targets, None)
    assert float(total / weight) == pytest.approx((outputs[0].square().mean() + 3 * outputs[1].square().mean()).item())


@pytest.mark.parametrize(
    ("loss", "output", "target", "error", "message"),
    [
        ("mse", (6, 2), torch.zeros(6, 1), NetworkError, r"output of \(6, 2\) does not fit a label of \(6, 1\)"),
        ("mse", (5, 1), torch.zeros(6, 1), NetworkError, r"returned \(5, 1\) for 6 rows"),
        ("nll", (6, 1), torch.zeros(6, 1), NetworkError, "one number for each class"),
        ("cross_entropy", (6, 3), torch.zeros(6, 2), NetworkError, "does not fit class labels"),
        ("cross_entropy", (6, 3), torch.arange(6), DataError, "labels reach from 0 to 5, the network has 3 outputs"),
        (lambda o, t: o[:2, 0], (6, 3), torch.zeros(6, 3), NetworkError, r"returned \(2,\) for 6 rows"),
        (lambda o, t: 1.0, (6, 3), torch.zeros(6, 3), NetworkError, "returned float"),
    ],
)
def test_what_does_not_fit(loss, output, target, error, message):
    with pytest.raises(error, match=message):
        _mean(loss, _numbers(*output), target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"losses": ("msee",)}, "loss='msee' is not known: did you mean 'mse'"),
        ({"losses": ("mse",), "loss_params": ({"delta": 1},)}, "loss mse does not take lossParams={'delta': 1}"),
        ({"losses": (3,)}, "loss=3 is no name"),
        ({"losses": ("mse", "l1"), "loss_params": ({},)}, "1 entries for 2 losses"),
        ({"losses": ("mse", "nll"), "class_weights": (1.0,)}, "classWeights belongs to one loss"),
        (
            {"losses": ("cross_entropy",), "class_weights": (1.0, 1.0), "loss_params": ({"weight": [1, 2]},)},
            "say the same thing",
        ),
        (
            {"losses": (nn.NLLLoss(torch.ones(2)),), "class_weights": (1.0, 1.0)},
            "classWeights and the weight of NLLLoss say the same thing",
        ),
        (
            {"losses": ("mse",), "loss_params": ({"reduction": "sum"},)},
            "invalid reduction='sum' of loss mse: expected 'mean' or 'none'",
        ),
        ({"losses": ("mse",), "loss_params": ({"size_average": False},)}, "invalid reduction='sum' of loss mse"),
        ({"losses": (nn.L1Loss(reduction="sum"),)}, "invalid reduction='sum' of loss L1Loss"),
        ({"losses": (nn.KLDivLoss(reduction="sum"),)}, "expected 'mean' or 'none' or 'batchmean'"),
        (
            {"losses": (functional.mse_loss,), "loss_params": ({"reduction": "sum"},)},
            "reduction='sum' of loss mse_loss",
        ),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(SettingError, match=message):
        Objective(TrainConfig(**settings), CPU)


def test_outputs_and_labels_must_agree():
    with pytest.raises(NetworkError, match="returns 2 outputs for 1 labels"):
        Objective(TrainConfig(), CPU)((_numbers(2, 1), _numbers(2, 1)), (_numbers(2, 1),), None)


def test_outputs_in_their_order():
    first, second = torch.ones(1), torch.zeros(1)
    assert as_outputs(first) == (first,)
    assert as_outputs([first, second]) == (first, second)
    assert as_outputs({"b": first, "a": second}) == (first, second)
    assert as_outputs({"b": first, "a": second}, ("a", "b")) == (second, first)
    assert as_outputs({"b": first, "a": second}, ("a", "c")) == (first, second)
    with pytest.raises(NetworkError, match="the network returned NoneType"):
        as_outputs(None)


def test_a_loss_with_parameters_of_its_own():
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, output, target):
            return self.factor * (output - target).square().mean(1)

    found = _mean(Scaled, _numbers(4, 2), torch.zeros(4, 2), loss_params=({"factor": 2.0},))
    assert found == pytest.approx(2 * _numbers(4, 2).square().mean().item())


def _labels(*values):
    return torch.tensor(values)


def test_each_of_several_losses_is_divided_by_its_own_weights():
    logits, numbers, labels, truth = (
        _numbers(6, 3),
        _numbers(6, 1, seed=1),
        _labels(0, 1, 2, -100, 2, 0),
        _numbers(6, 1),
    )
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]))
    expected = weighted(logits, labels) + 2 * functional.mse_loss(numbers, truth)
    for order in (slice(None), slice(None, None, -1)):
        config = TrainConfig(losses=(weighted, "mse")[order], loss_weights=(1.0, 2.0)[order])
        objective = Objective(config, CPU)
        outputs, targets = (logits, numbers)[order], (labels, truth)[order]
        total, weight = objective(outputs, targets, None)
        assert float(total / weight) == pytest.approx(expected.item(), rel=1e-6)
        sums = [[float(each) for each in pair] for pair in objective.sums(outputs, targets, None)]
        assert objective.mean(sums) == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(), functional.cross_entropy])
@pytest.mark.parametrize("dense", [False, True])
def test_labels_that_are_ignored_do_not_count(loss, dense):
    logits = _numbers(6, 3, 2) if dense else _numbers(6, 3)
    labels = (
        _labels(0, 1, -100, -100, 2, 0, 1, -100, 2, 2, 1, 0).view(6, 2) if dense else _labels(0, 1, -100, 2, -100, 0)
    )
    assert _mean(loss, logits, labels) == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-6)
    weights = torch.tensor([1.0, 2, 0.5, 1, 3, 1])
    rows = functional.cross_entropy(logits, labels, reduction="none").reshape(6, -1).mean(1)
    counts = (labels != -100).reshape(6, -1).float().mean(1)
    expected = (rows * weights).sum() / (counts * weights).sum()
    assert _mean(loss, logits, labels, weights) == pytest.approx(expected.item(), rel=1e-6)


def test_one_logit_ignores_labels_too():
    output, labels = _numbers(4, 1), _labels(0, -100, 1, 1)
    kept = labels != -100
    expected = functional.binary_cross_entropy_with_logits(output[kept, 0], labels[kept].float())
    assert _mean("cross_entropy", output, labels) == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", [nn.KLDivLoss, nn.KLDivLoss(reduction="batchmean"), functional.kl_div])
def test_the_mean_over_a_batch_adds_up_the_numbers_of_a_row(loss):
    output, target = _numbers(5, 4).log_softmax(1), _numbers(5, 4, seed=1).softmax(1)
    params = {} if isinstance(loss, nn.Module) else {"loss_params": ({"reduction": "batchmean"},)}
    expected = functional.kl_div(output, target, reduction="batchmean").item()
    assert _mean(loss, output, target, **params) == pytest.approx(expected)
    assert _mean(loss, output, target, torch.full((5,), 3.0), **params) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), functional.cross_entropy, nn.MultiMarginLoss])
def test_class_weights_beside_a_loss_that_is_no_name(loss):
    output, labels, weights = _numbers(6, 3), _labels(0, 1, 2, 1, 2, 0), torch.tensor([1.0, 3.0, 0.5])
    plain = loss() if isinstance(loss, type) else loss
    rows = torch.stack([plain(output[i : i + 1], labels[i : i + 1]) for i in range(6)])
    expected = (rows * weights[labels]).sum() / weights[labels].sum()
    assert _mean(loss, output, labels, class_weights=(1.0, 3.0, 0.5)) == pytest.approx(expected.item(), rel=1e-6)
