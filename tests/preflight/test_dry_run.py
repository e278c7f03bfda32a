from __future__ import annotations

import random
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparkdl.errors import NetworkError, SettingError, SparkDLError
from sparkdl.network import check
from sparkdl.preflight.dry_run import check_names, check_task, dry_run, measured_by, network_before_rows
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, WEIGHT, DataSchema, Field
from sparkdl.train import EarlyStopping
from sparkdl.train.config import TrainConfig

X = Field("x", INPUT, ARRAY, ("x",), "float32", (3,))
Y = Field("y", LABEL, SCALAR, ("y",), "float32", (1,))
W = Field("w", WEIGHT, SCALAR, ("w",), "float32", (1,))
SCHEMA = DataSchema((X, Y))


def mean(output: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(output, target)


def weighted(output: Tensor, target: Tensor, weight: float) -> Tensor:
    return weight * functional.mse_loss(output, target)


def broken(output: Tensor, target: Tensor) -> Tensor:
    raise KeyError("no such thing")


def detached(output: Tensor, target: Tensor) -> Tensor:
    return (output.detach() - target).square().mean(1)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        np.random.random()
        random.random()
        return self.layer(x) + torch.rand(1)


@pytest.mark.parametrize(
    ("settings", "module", "sentence"),
    [
        ({"losses": ("msee",)}, None, "loss='msee' is not known: did you mean 'mse'?"),
        (
            {"losses": ("huber",), "loss_params": ({"detla": 1},)},
            None,
            "invalid lossParams key 'detla': huber has no such argument, did you mean 'delta'?",
        ),
        (
            {"losses": (weighted,), "loss_params": ({"wieght": 1},)},
            None,
            "invalid lossParams key 'wieght': weighted has no such argument, did you mean 'weight'?",
        ),
        ({"losses": (weighted,)}, None, "lossParams lacks 'weight': weighted cannot be called without it, add it"),
        (
            {"losses": (nn.HuberLoss(),), "loss_params": ({"delta": 1},)},
            None,
            "lossParams has no effect on a HuberLoss",
        ),
        ({"optimizer": "adamm"}, None, "optimizer='adamm' is not known"),
        ({"optimizer": "sgd", "optimizer_params": {"nestrov": 1}}, None, "did you mean 'nesterov'?"),
        (
            {"optimizer": torch.optim.SGD, "optimizer_params": {"k": 1}},
            None,
            "invalid optimizerParams key 'k': SGD has no such argument, it takes lr, momentum",
        ),
        ({"optimizer": "adamw", "optimizer_params": {"betas": (2, 0)}}, None, "adamw does not take optimizerParams"),
        ({"compile": {"speed": 3}}, None, "invalid compile key 'speed': compile has no such argument, it takes"),
        ({"compile": {"mode": "fastest"}}, None, "invalid compile={'mode': 'fastest'}: torch.compile on host "),
        ({"compile": {"backend": "nothing"}}, None, "invalid compile={'backend': 'nothing'}: torch.compile on host "),
        ({"lr_schedule": "StepLr2"}, None, "lrSchedule='StepLr2' is not known"),
        ({"lr_schedule": "StepLR", "lr_schedule_params": {"step": 1}}, None, "did you mean 'step_size'?"),
        ({"lr_schedule": "StepLR"}, None, "lrScheduleParams lacks 'step_size': StepLR cannot be called without it"),
        ({}, "mpl", "module='mpl' is no network of sparkdl.nn: did you mean 'mlp'?"),
    ],
)
def test_names_and_arguments_need_no_rows(settings: dict[str, Any], module: Any, sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        check_names(module, {}, TrainConfig(**settings))
    assert sentence in str(error.value)


def test_what_is_filled_in_is_not_asked_for() -> None:
    for settings in (
        {"optimizer": "muon"},
        {"lr_schedule": "OneCycleLR"},
        {"lr_schedule": "CosineAnnealingLR"},
        {
            "lr_schedule": lambda optimizer, steps: optimizer,
            "optimizer": lambda parameters: torch.optim.SGD(parameters),
        },
        {"optimizer": torch.optim.SGD, "optimizer_params": {"momentum": 0.9}},
        {"losses": (weighted,), "loss_params": ({"weight": 2.0},)},
    ):
        check_names("mlp", {"hidden": [4]}, TrainConfig(**settings))


def make(width: int, *, depth: int = 1) -> nn.Module:
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))


def of_any(**settings: Any) -> nn.Module:
    return make(**settings)


@pytest.mark.parametrize(
    ("module", "params", "sentence"),
    [
        ("mlp", {"hiden": [4]}, "invalid moduleParams key 'hiden': mlp has no such argument, did you mean 'hidden'?"),
        ("cnn", {"kernels": 3}, "it takes shape, outputs, channels, hidden, dropout"),
        (make, {"Width": 3}, "invalid moduleParams key 'Width': make has no such argument, did you mean 'width'?"),
        (make, {"depth": 3}, "moduleParams lacks 'width': make cannot be called without it"),
        (Noisy, {"hidden": 3}, "invalid moduleParams key 'hidden': Noisy has no such argument, it takes none"),
        (of_any, {"hidden": 3}, ""),
        (make, {"width": 3}, ""),
    ],
)
def test_arguments_of_a_network_need_no_rows(module: Any, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError) if sentence else nullcontext() as error:
        check_names(module, params, TrainConfig())
    assert error is None or sentence in str(error.value)


def test_what_is_measured() -> None:
    assert measured_by(TrainConfig()) == ["loss"]
    assert measured_by(TrainConfig(metrics=("mean_absolute_error", mean))) == ["loss", "mean_absolute_error", "mean"]
    with pytest.raises(SettingError, match="accuracyy"):
        measured_by(TrainConfig(metrics=("accuracyy",)))
    with pytest.raises(SettingError, match="metric spearman_corr_coef keeps every row of an epoch in memory"):
        measured_by(TrainConfig(metrics=("spearman_corr_coef",)))
    with pytest.raises(SettingError, match="metric minkowski_distance cannot be made without further settings"):
        measured_by(TrainConfig(metrics=("minkowski_distance",)))
    several = ("accuracy", "f1", "auroc", "mcc", "rmse", "r2", "mape", "cohen_kappa", "average_precision", "hinge_loss")
    assert measured_by(TrainConfig(metrics=several)) == ["loss", *several]
    with pytest.raises(SettingError, match="higher_is_better"):
        measured_by(TrainConfig(metrics=(mean,), callbacks=(EarlyStopping("val_mean"),)))


def tried(module: nn.Module, config: TrainConfig, schema: DataSchema) -> tuple[tuple[int, ...], ...]:
    outputs = check(module, schema)
    dry_run(module, config, schema, outputs)
    return outputs


@pytest.mark.parametrize(
    ("module", "settings", "schema", "kind", "sentence"),
    [
        (nn.Linear(4, 1), {}, SCHEMA, NetworkError, "does not take its input x (rows, 3) float32"),
        (nn.Linear(3, 2), {}, SCHEMA, NetworkError, "an output of (2, 2) does not fit a label of (2, 1)"),
        (nn.Linear(3, 1), {"losses": (broken,)}, SCHEMA, NetworkError, "the loss raised KeyError: 'no such thing' ("),
        (nn.Linear(3, 1), {"losses": (detached,)}, SCHEMA, NetworkError, "does not depend on the output"),
        (nn.Linear(3, 1), {"losses": (mean,)}, DataSchema((X, Y, W)), SettingError, "weightCol"),
        (
            nn.Identity(),
            {},
            DataSchema((X, Field("y", LABEL, ARRAY, ("y",), "float32", (3,)))),
            NetworkError,
            "no param",
        ),
        (nn.Linear(3, 1), {"optimizer": lambda parameters: None}, SCHEMA, SettingError, "returned NoneType"),
    ],
)
def test_what_does_not_fit_is_refused(
    module: nn.Module, settings: dict[str, Any], schema: DataSchema, kind: type[SparkDLError], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        tried(module, TrainConfig(**settings), schema)
    assert sentence in str(error.value)


def test_a_dry_run_leaves_no_trace() -> None:
    network = Noisy()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index,union-attr]

    assert tried(network, TrainConfig(losses=(mean,)), SCHEMA) == ((1,),)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index,union-attr]
    assert random.getstate() == states[2]
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


UNKNOWN = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (-1,)), Y))


def size(schema: DataSchema) -> int:
    return schema.labels[0].size


@pytest.mark.parametrize(
    ("module", "params", "kind", "sentence"),
    [
        ("mlp", {"activation": "rellu"}, NetworkError, "activation='rellu' is not known: did you mean 'relu'?"),
        ("mlp", {"hidden": [0]}, NetworkError, "invalid each of hidden=0"),
        ("cnn", {"dropout": 2}, NetworkError, "invalid dropout=2"),
        (nn.Linear(3, 1), {"width": 1}, SettingError, "moduleParams={'width': 1} has no effect on an nn.Module"),
        (lambda: "net", {}, NetworkError, "returned str: it must return an nn.Module"),
    ],
)
def test_a_network_is_made_without_the_rows(
    module: Any, params: dict[str, Any], kind: type[SparkDLError], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        network_before_rows(module, params, UNKNOWN, size, 1)
    assert sentence in str(error.value)


def test_what_only_the_rows_tell_is_left_to_them() -> None:
    for module in (nn.Linear(3, 1), nn.LazyLinear(1), lambda: nn.Linear(3, 1), nn.Linear):
        params = {"in_features": 3, "out_features": 1} if module is nn.Linear else {}
        made, schema = network_before_rows(module, params, UNKNOWN, size, 1)
        assert isinstance(made, nn.Module)
        assert schema == UNKNOWN
        dry_run(made, TrainConfig(), schema, None)
    made, schema = network_before_rows("mlp", {"hidden": [4]}, UNKNOWN, size, 1)
    assert made is not None
    assert all(field.known for field in schema.fields)
    assert tried(made, TrainConfig(), schema) == ((1,),)
    assert network_before_rows("mlp", {"inputs": 7}, UNKNOWN, size, 1) == (None, UNKNOWN)
    several = DataSchema((X, Field("y", LABEL, ARRAY, ("y",), "float32", (-1,))))
    made, schema = network_before_rows("mlp", {}, several, size, 1)
    assert made is not None
    assert schema == several
    dry_run(made, TrainConfig(), schema, check(made, schema))


@pytest.mark.parametrize(
    ("task", "loss", "sentence"),
    [
        ("classification", "mse", "invalid loss='mse': it compares numbers, and a classifier learns which class"),
        ("classification", nn.HuberLoss, "invalid loss=HuberLoss: it compares numbers.*take 'cross_entropy'"),
        ("classification", functional.l1_loss, "invalid loss=l1_loss"),
        ("classification", nn.MSELoss(), "invalid loss=MSELoss"),
        ("classification", nn.BCELoss, "invalid loss=BCELoss: it takes probabilities, .* take 'bce_with_logits', and"),
        ("classification", nn.BCELoss(), "invalid loss=BCELoss: it takes probabilities"),
        ("classification", functional.binary_cross_entropy, "invalid loss=binary_cross_entropy: it takes prob"),
        ("classification", partial(functional.binary_cross_entropy), "it takes probabilities"),
        ("regression", "cross_entropy", "invalid loss='cross_entropy': it learns classes, and a regressor.*take 'mse'"),
        ("regression", nn.NLLLoss, "invalid loss=NLLLoss: it learns classes"),
    ],
)
def test_a_loss_of_another_task(task: str, loss: Any, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_task(TrainConfig(task=task, losses=(loss,)))
    check_task(TrainConfig(task="generic", losses=(loss,)))
    check_task(TrainConfig(task=task, losses=(mean,)))
    check_task(TrainConfig(task=task, losses=("bce_with_logits",)))
