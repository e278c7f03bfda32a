"""Networks, losses, metrics and optimizers that cannot train: refused before any row is touched, or by a rank."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn
from torch.optim.lr_scheduler import StepLR

from sparkdl import TorchRegressor
from sparkdl.errors import ClusterError, NetworkError, RankError, SettingError, SettingTypeError
from sparkdl.train import Callback
from tests.bad_input.case import Case, check, classifier, each, estimator, regressor


@pytest.fixture(scope="module")
def untouchable(spark: SparkSession) -> DataFrame:
    """Any row that is computed fails."""

    @F.udf("double")
    def fail(value: int) -> float:
        raise RuntimeError("a row was touched")

    return spark.range(8).select(
        fail("id").alias("x"), fail("id").alias("y"), fail("id").alias("label"), fail("id").cast("int").alias("count")
    )


class Returning(nn.Module):
    """Returns what a function makes of a number for each row."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.layer(x))


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(torch.cat([a, b], 1))
        return out


class FailsInTraining(nn.Linear):
    """Zeros, of which a dry run is made, are no reason to fail."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.any():
            raise KeyError("my table")
        return super().forward(x)


class FailingCallback(Callback):
    def on_epoch_end(self, state: Any) -> None:
        raise ValueError("my callback")


def frozen() -> nn.Module:
    return nn.Linear(1, 1).requires_grad_(False)


def on_meta() -> nn.Module:
    return nn.Linear(1, 1, device="meta")


def without_weights() -> nn.Module:
    raise OSError("no weights here")


def nothing(*arguments: Any) -> None:
    return None


def failing(*arguments: Any) -> Any:
    raise ValueError("my own check")


def failing_later(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if target.any():
        raise ValueError("my own check")
    return (output - target) ** 2


def broken_metric(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Make a mistake; what cannot be computed of some rows (ArithmeticError, ValueError) is NaN instead."""
    raise KeyError("my table")


def one_argument(output: torch.Tensor) -> torch.Tensor:
    return output


def seven(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.zeros(7, requires_grad=True)


def text(output: torch.Tensor, target: torch.Tensor) -> str:
    return "good"


def every_row(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return output - target


def holding(part: Any) -> Callable[..., Any]:
    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target) ** 2 if part else output

    return loss


def of(**settings: Any) -> Callable[[DataFrame], Any]:
    """What fits a regressor with these settings."""
    return lambda rows: regressor(**settings).fit(rows)


def returning(change: Callable[[torch.Tensor], Any]) -> Callable[[DataFrame], Any]:
    return lambda rows: regressor(module=Returning(change)).fit(rows)


def no_tensors(kind: str) -> str:
    return (
        f"the network returns {kind}, not a tensor or a tuple, list or dict of tensors: return tensors with one entry "
        "for each row"
    )


def no_number(kind: str) -> str:
    return (
        f"output 0 of Returning is {kind}, which no loss can learn from: return float32 numbers, those before argmax, "
        "round or a comparison"
    )


UNTRAINABLE = "the network has no parameter to train: give it layers, or set requires_grad on some"
PROGRAM = "cannot be sent to the ranks: give the nn.Module, or the class, that it was made from"
ADAM = torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=0.01)

NETWORKS = [
    Case("returns-none", returning(lambda y: None), NetworkError, no_tensors("NoneType")),
    Case("returns-a-list", returning(lambda y: y.tolist()), NetworkError, no_tensors("list")),
    Case("returns-an-array", returning(lambda y: y.detach().numpy()), NetworkError, no_tensors("ndarray")),
    Case("returns-an-empty-tuple", returning(lambda y: ()), NetworkError, no_tensors("tuple")),
    Case("returns-a-dict-with-none", returning(lambda y: {"a": y, "b": None}), NetworkError, no_tensors("dict")),
    Case(
        "returns-a-row",
        returning(lambda y: y[:1]),
        NetworkError,
        r"output 0 of Returning has shape \(1, 1\) for 2 rows: the first dimension must be the rows",
    ),
    Case(
        "returns-three",
        returning(lambda y: (y, y, y)),
        NetworkError,
        r"the network returns \(1,\) and \(1,\) and \(1,\) for a row, and TorchRegressor predicts one number: .*",
    ),
    Case(
        "returns-three-for-one-label",
        lambda rows: estimator(module=Returning(lambda y: (y, y, y))).fit(rows),
        NetworkError,
        "the network returns 3 outputs for 1 labels: let it return one for each, in the order of labelCols",
    ),
    Case("returns-whole-numbers", returning(lambda y: y.long()), NetworkError, no_number("int64")),
    Case("returns-truths", returning(lambda y: y > 0), NetworkError, no_number("bool")),
    Case("returns-complex", returning(lambda y: y.to(torch.complex64)), NetworkError, no_number("complex64")),
    Case(
        "returns-what-is-detached",
        returning(lambda y: y.detach()),
        NetworkError,
        "the output of Returning does not depend on its weights by torch: compute it without detach, no_grad, item .*",
    ),
    Case("no-parameters", of(module=nn.Identity()), NetworkError, UNTRAINABLE),
    Case("frozen", of(module=frozen), NetworkError, UNTRAINABLE),
    Case(
        "double",
        of(module=nn.Linear(1, 1).double()),
        NetworkError,
        r"the network Linear does not take its input features \(rows, 1\) float32: .*; its weights are float64: give "
        r"module.float\(\), and the Param precision for what ranks compute in",
    ),
    Case(
        "meta",
        of(module=on_meta()),
        NetworkError,
        "the network Linear has tensors on the device 'meta', which have no values: give its class or a function, .*",
    ),
    Case(
        "torchscript",
        of(module=torch.jit.script(nn.Linear(1, 1))),
        SettingError,
        f"invalid module=<RecursiveScriptModule>: a TorchScript module {PROGRAM}",
    ),
    Case(
        "exported",
        lambda rows: regressor(module=torch.export.export(nn.Linear(1, 1), (torch.zeros(2, 1),))).fit(rows),
        SettingError,
        f"invalid module=<ExportedProgram>: an exported program {PROGRAM}",
        slow=True,
    ),
    Case(
        "a-function-that-raises",
        of(module=without_weights),
        NetworkError,
        r"module=without_weights called with moduleParams=\{\} raised OSError: no weights here \(.*, in without_.*\)",
    ),
    Case(
        "a-function-that-returns-none",
        of(module=nothing),
        NetworkError,
        "module=nothing returned NoneType: it must return an nn.Module",
    ),
    Case(
        "another-class",
        of(module=dict),
        SettingError,
        "module=<class 'dict'> is neither a name in sparkdl.nn nor an nn.Module, a class of them or a function",
    ),
    Case("a-number", of(module=3), SettingTypeError, r"invalid module=3: expected a network: a name in sparkdl.nn, .*"),
    Case(
        "weights-alone",
        of(module=nn.Linear(1, 1).state_dict()),
        SettingTypeError,
        r"invalid module=.*: expected a network: a name in sparkdl.nn, an nn.Module, its class, or a function .*",
    ),
    Case(
        "a-file",
        of(module="/models/net.pt"),
        SettingError,
        "module='/models/net.pt' is no network of sparkdl.nn: give one of cnn, mlp, or an nn.Module",
    ),
    Case(
        "params-of-a-module-that-exists",
        of(module=nn.Linear(1, 1), moduleParams={"bias": False}),
        SettingError,
        r"moduleParams=\{'bias': False\} has no effect on an nn.Module that exists already: give the class .*",
    ),
    Case(
        "two-arguments-for-featuresCols",
        lambda rows: TorchRegressor(module=OfTwo(), featuresCols=["x", "y"], verbose=0).fit(rows),
        NetworkError,
        r"the network OfTwo does not take its input features \(rows, 2\) float32: TypeError: .*; featuresCols stacks "
        "its columns into one input: name them in inputCols, one for each argument of forward",
    ),
    Case(
        "layers-without-numbers",
        of(moduleParams={"hidden": [-1]}),
        NetworkError,
        r"module='mlp', moduleParams=\{'hidden': \[-1\]\}: invalid each of hidden=-1: expected an integer >= 1",
    ),
]

TRAINING = [
    Case(
        "loss-raises",
        of(loss=failing),
        NetworkError,
        r"the loss raised ValueError: my own check \(.*, in failing\) for an output and a label of \(2, 1\) .*",
    ),
    Case(
        "loss-of-nothing",
        of(loss=nothing),
        NetworkError,
        "loss nothing returned NoneType: it must return a Tensor, one value for each row; the label is column .*",
    ),
    Case(
        "loss-of-seven",
        of(loss=seven),
        NetworkError,
        r"loss seven returned \(7,\) for 2 rows: one value for each row is needed; the label is column 'label', .*",
    ),
    Case(
        "loss-is-a-tensor",
        of(loss=torch.zeros(1)),
        SettingTypeError,
        r"invalid loss=tensor\(\[0.\]\): expected a loss, given as its name, its class or a function, or a list .*",
    ),
    Case(
        "loss-holds-a-lock",
        of(loss=holding(threading.Lock())),
        SettingError,
        "the name 'part' that holding.<locals>.loss uses .* cannot be sent to the ranks: .*",
    ),
    Case(
        "loss-holds-a-dataframe",
        lambda rows: regressor(loss=holding(rows)).fit(rows),
        SettingError,
        r"the name 'part' that holding.<locals>.loss uses \(pyspark.* cannot be sent to the ranks: .*",
    ),
    Case(
        "metric-of-text",
        of(metrics=[text]),
        SettingError,
        "invalid metrics: text returned str for 2 rows, and has to return one number",
    ),
    Case(
        "metric-of-every-row",
        of(metrics=[every_row]),
        SettingError,
        r"invalid metrics: every_row returned shape \(2, 1\) for 2 rows, and has to return one number",
    ),
    Case(
        "metric-of-one-argument",
        of(metrics=[one_argument]),
        SettingError,
        r"invalid metrics: one_argument has to take \(output, target\), and cannot: too many positional arguments",
    ),
    Case(
        "two-metrics-of-one-name",
        of(metrics=[lambda output, target: 0.0, lambda output, target: 1.0]),
        SettingError,
        "metrics: the name '<lambda>' is taken already; rename the function or leave one out",
    ),
    Case(
        "metric-is-a-number",
        of(metrics=[3]),
        SettingTypeError,
        r"invalid metrics=\[3\]: expected a list of metrics, each given as its name or a function",
    ),
    Case(
        "optimizer-that-exists",
        of(optimizer=ADAM),
        SettingTypeError,
        "invalid optimizer=<Adam>: expected an optimizer, given as its name, its class or a function: "
        "give optimizer='adam', learningRate=0.01, and other arguments by optimizerParams",
    ),
    Case(
        "schedule-that-exists",
        of(lrSchedule=StepLR(ADAM, 1)),
        SettingTypeError,
        "invalid lrSchedule=.*StepLR.*: expected a schedule, .*: give its class or name 'StepLR', and its arguments .*",
    ),
    Case(
        "optimizer-of-nothing",
        of(optimizer=nothing),
        SettingError,
        "optimizer nothing returned NoneType: it must return a torch.optim.Optimizer",
    ),
    Case(
        "schedule-of-nothing",
        of(lrSchedule=nothing),
        SettingError,
        r"invalid lrSchedule: nothing returned NoneType, and has to return a schedule with step\(\)",
    ),
    Case(
        "schedule-of-one-argument",
        of(lrSchedule=one_argument),
        SettingError,
        r"invalid lrSchedule: one_argument has to take \(optimizer, totalSteps\), and cannot: too many positional .*",
    ),
    Case(
        "callback-class",
        of(callbacks=[FailingCallback]),
        SettingTypeError,
        r"invalid callbacks=\[.*FailingCallback.*\]: expected a list of sparkdl.train.Callback instances",
    ),
    Case(
        "callback-alone",
        of(callbacks=FailingCallback()),
        SettingTypeError,
        "invalid callbacks=.*: expected a list of sparkdl.train.Callback instances",
    ),
    Case(
        "more-ranks-than-slots",
        of(numProcs=4),
        ClusterError,
        r"numProcs=4 needs 4 task slots, this cluster has 2: lower numProcs or create the session with "
        r'master\("local\[4\]"\)',
    ),
    Case(
        "epochs-beyond-floats",
        of(epochs=float("inf")),
        SettingError,
        "invalid epochs=inf: expected an integer >= 1",
    ),
    Case(
        "weights-of-three-classes",
        lambda rows: classifier(classWeights=[1.0, 2.0, 3.0], numClasses=2).fit(rows),
        SettingError,
        "classWeights has 3 entries for 2 classes: give one for each class, in their order",
    ),
]


@each(NETWORKS)
def test_networks(untouchable: DataFrame, case: Case) -> None:
    check(case, untouchable)


@each(TRAINING)
def test_what_trains_them(untouchable: DataFrame, case: Case) -> None:
    check(case, untouchable)


BY_RANKS = {
    "network": ({"module": FailsInTraining(1, 1)}, "KeyError: 'my table'"),
    "loss": ({"loss": failing_later}, "ValueError: my own check"),
    "metric": ({"metrics": [broken_metric]}, "KeyError: 'my table'"),
    "callback": (
        {"callbacks": [FailingCallback()]},
        r"ValueError: my callback \(raised by FailingCallback.on_epoch_end in epoch 1, step 1\)",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "network" else []) for name in BY_RANKS]
)
def test_what_only_the_rows_bring_about(spark: SparkSession, name: str) -> None:
    settings, said = BY_RANKS[name]
    rows = spark.range(8).select((F.col("id") / 8).alias("x"), (F.col("id") / 8).alias("label"))
    with pytest.raises(RankError) as error:
        regressor(**settings).fit(rows)
    first, _, traceback = str(error.value).partition("\n")
    assert re.fullmatch(f"rank 0 on host .* failed: {said}", first), first
    assert "Traceback" in traceback
