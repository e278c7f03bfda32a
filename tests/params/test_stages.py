"""The contract of every Param of every estimator and of the models' scoring."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pyspark.ml.param import shared

from sparkdl.errors import SettingError
from sparkdl.params.scoring import HasScoring
from sparkdl.params.setting import Setting, Settings
from sparkdl.params.stages import ClassifierParams, EstimatorParams, RegressorParams

STAGES: list[type[Settings]] = [EstimatorParams, ClassifierParams, RegressorParams, HasScoring]

# One value other than the default for each type of value.
BY_TYPE: dict[str, Any] = {
    "int": 2,
    "float": 0.5,
    "bool": True,
    "str": "other",
    "list[str]": ["one", "two"],
    "list[float]": [1.0, 2.0],
    "dict[str, Any]": {"hidden": [8]},
    "dict[str, float]": {"cpus": 2.0},
    "dict[str, str]": {"fc": "hidden"},
    "dict[str, Any] | list[dict[str, Any]]": [{"reduction": "none"}],
    "str | type | Callable[..., Any]": max,
    "str | type | Callable[..., Any] | list[str | type | Callable[..., Any]]": [max, "mse"],
    "list[str | Callable[..., Any]]": [max],
    "str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module]": max,
    'list[float] | Literal["balanced"]': [1.0, 3.0],
    "str | bool": "true",
}
BY_NAME: dict[str, Any] = {
    "device": "cuda",
    "precision": "bf16",
    "compile": {"mode": "default"},
    "matmulPrecision": "high",
    "backend": "torch",
    "feed": "direct",
    "handleInvalid": "keep",
    "resume": "never",
    "shuffle": False,
}


class Watcher:
    def on_epoch_end(self, state: object) -> None: ...


def other_value(setting: Setting) -> Any:
    if setting.name == "callbacks":
        return [Watcher()]
    return BY_NAME.get(setting.name, BY_TYPE[setting.kind.annotation] if setting.name not in BY_NAME else None)


@pytest.mark.parametrize("cls", STAGES)
def test_every_param_has_its_places(cls: type[Settings]) -> None:
    stage = cls()
    for param in stage.params:
        assert isinstance(param, Setting), f"{param.name} is not declared as a Setting"
        assert param.doc
        upper = param.name[0].upper() + param.name[1:]
        value = other_value(param)
        assert getattr(stage, f"get{upper}")() == param.default
        for made in (
            cls(**{param.name: value}),
            cls().setParams(**{param.name: value}),
            getattr(cls(), f"set{upper}")(value),
            stage.copy({param: value}),
        ):
            got = getattr(made, f"get{upper}")()
            assert got == value != param.default
            assert made.isSet(param.name)
            assert getattr(made.copy(), f"get{upper}")() == value
        assert param.name in cls(**{param.name: value}).explainParams()
        with pytest.raises(SettingError, match=f"^invalid {param.name}" + (": expected" if param.secret else "=")):
            stage.set(param, object())


@pytest.mark.parametrize("cls", STAGES)
def test_a_stage_survives_pickle(cls: type[Settings]) -> None:
    stage = cls(batchSize=7)
    loaded = pickle.loads(pickle.dumps(stage))

    assert {p.name: v for p, v in loaded.extractParamMap().items()} == {
        p.name: v for p, v in stage.extractParamMap().items()
    }


def test_sparks_own_mixins_are_there() -> None:
    for mixin in (
        shared.HasFeaturesCol,
        shared.HasInputCols,
        shared.HasLabelCol,
        shared.HasPredictionCol,
        shared.HasWeightCol,
        shared.HasValidationIndicatorCol,
        shared.HasSeed,
        shared.HasBatchSize,
        shared.HasLearningRate,
        shared.HasLoss,
    ):
        assert issubclass(EstimatorParams, mixin)
        assert issubclass(ClassifierParams, mixin)
    for mixin in (shared.HasRawPredictionCol, shared.HasProbabilityCol, shared.HasThresholds):
        assert issubclass(ClassifierParams, mixin)
    assert issubclass(EstimatorParams, shared.HasOutputCols)


def test_the_seed_is_the_same_number_in_every_process() -> None:
    assert ClassifierParams().getSeed() == RegressorParams().getSeed() == 42
