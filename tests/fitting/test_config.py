from __future__ import annotations

from typing import Any

import pytest

from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.fitting.config import config_of, measuring_plan_of, plan_of, seed_of
from sparkdl.params.stages import ClassifierParams, EstimatorParams
from sparkdl.schema import INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train import Callback, EarlyStopping
from sparkdl.train.config import TrainConfig

SCHEMA = DataSchema(
    (Field("x", INPUT, SCALAR, ("x",), "float32", (1,)), Field("y", LABEL, SCALAR, ("y",), "float32", (1,)))
)


def config(**settings: Any) -> TrainConfig:
    return config_of(EstimatorParams(**settings), task="generic", loss="mse", metrics=())


def test_params_that_are_not_set_are_the_loops_own_defaults() -> None:
    assert config() == TrainConfig()


OTHER: dict[str, tuple[Any, Any]] = {
    "loss": ("l1", ("l1",)),
    "lossParams": ({"delta": 2.0}, ({"delta": 2.0},)),
    "lossWeights": ([2.0], (2.0,)),
    "metrics": (["mean_absolute_error"], ("mean_absolute_error",)),
    "optimizer": ("sgd", "sgd"),
    "optimizerParams": ({"momentum": 0.9}, {"momentum": 0.9}),
    "learningRate": (0.5, 0.5),
    "lrSchedule": ("StepLR", "StepLR"),
    "lrScheduleParams": ({"step_size": 2}, {"step_size": 2}),
    "epochs": (3, 3),
    "accumulationSteps": (2, 2),
    "seed": (7, 7),
    "precision": ("bf16", "bf16"),
    "gradientClipNorm": (1.5, 1.5),
    "compile": ({"mode": "max-autotune"}, {"mode": "max-autotune"}),
    "matmulPrecision": ("high", "high"),
    "syncBatchNorm": (True, True),
}
FIELDS = {
    "loss": "losses",
    "lossParams": "loss_params",
    "lossWeights": "loss_weights",
    "lrSchedule": "lr_schedule",
    "lrScheduleParams": "lr_schedule_params",
}


@pytest.mark.parametrize("name", OTHER)
def test_every_param_of_the_loop_reaches_it(name: str) -> None:
    value, expected = OTHER[name]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    changed = config(**{name: value})

    assert getattr(changed, FIELDS.get(name, snake)) == expected
    assert changed != TrainConfig()


def test_the_params_of_early_stopping_make_its_callback() -> None:
    own = Callback()
    assert config(callbacks=[own], earlyStoppingMetric="loss").callbacks == (own,)
    first, last = config(callbacks=[own], earlyStoppingMetric="loss", earlyStoppingPatience=4).callbacks

    assert first is own
    assert isinstance(last, EarlyStopping)
    assert (last.metric, last.patience, last.higher_is_better) == ("loss", 4, None)


def test_one_loss_serves_all_labels() -> None:
    both = config(labelCols=["y", "z"], loss="huber", lossParams={"delta": 2.0})

    assert both.losses == ("huber", "huber")
    assert both.loss_params == ({"delta": 2.0}, {"delta": 2.0})
    each = config(labelCols=["y", "z"], loss=["mse", "l1"], lossParams=[{}, {"x": 1}])
    assert (each.losses, each.loss_params) == (("mse", "l1"), ({}, {"x": 1}))


def test_metrics_by_task_give_way_to_those_that_are_set() -> None:
    def metrics(stage: ClassifierParams) -> tuple[Any, ...]:
        return config_of(stage, task="classification", loss="cross_entropy", metrics=("accuracy",)).metrics

    assert metrics(ClassifierParams()) == ("accuracy",)
    assert metrics(ClassifierParams(metrics=[])) == ()


def test_a_negative_seed_is_one_for_every_generator() -> None:
    assert seed_of(EstimatorParams(seed=-1)) == 2**63 - 1
    assert seed_of(EstimatorParams(seed=5)) == 5


def test_plans() -> None:
    manifest = Manifest("file:/rows", SCHEMA, (DataFile("part-0", 0, 0, (100,), 1),))
    settings: dict[str, Any] = {
        "batchSize": 30,
        "numProcs": 10,
        "dropLast": True,
        "stepsPerEpoch": 2,
        "shuffle": False,
        "shuffleWindow": 50,
        "seed": 3,
    }
    plan = plan_of(EstimatorParams(**settings), manifest)
    held = measuring_plan_of(EstimatorParams(**settings), manifest)

    assert (plan.batch_size, plan.canonical_shards, plan.drop_last, plan.steps_per_epoch) == (30, 10, True, 2)
    assert (plan.shuffle, plan.window, plan.seed) == (False, 50, 3)
    assert (held.rows, held.steps, held.shuffle, held.canonical_shards) == (100, 4, False, 10)
    assert plan_of(EstimatorParams(), manifest).canonical_shards == 8
