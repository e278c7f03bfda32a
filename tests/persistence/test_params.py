"""Params as JSON and back, and what is refused on either way."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparkdl.errors import PersistenceError
from sparkdl.network import register
from sparkdl.network.values import decode, encode
from sparkdl.params.stages import EstimatorParams
from sparkdl.persistence import trusted
from sparkdl.persistence.params import params_to_json, set_params
from sparkdl.train import EMA, Callback, EarlyStopping, LearningRateMonitor, Profiler, TensorBoard

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.sampled_from((torch.float16, torch.int64, torch.device("cpu"), torch.relu, nn.functional.gelu, nn.Linear)),
    st.lists(st.integers(0, 9), max_size=3).map(torch.Size),
    st.builds(slice, st.integers(0, 3), st.none() | st.integers(4, 9)),
)
KEYS = st.text() | st.integers() | st.sampled_from(("$", "v"))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.frozensets(st.integers(), max_size=3),
    ),
    max_leaves=12,
)


def loss_of_this_module(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target) ** 2


class Halving(Callback):
    def __init__(self, factor: float) -> None:
        self.factor = factor


def through_json(stage: EstimatorParams, folder: Path) -> EstimatorParams:
    saved = json.loads(json.dumps(params_to_json(stage, folder), allow_nan=False))
    back = EstimatorParams()
    set_params(back, saved, folder)
    return back


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_plain_value(value: Any) -> None:
    text = json.dumps(encode(value, "here"), allow_nan=False)
    back = decode(json.loads(text))
    assert back == value
    assert type(back) is type(value)


def test_nan_stays_nan() -> None:
    assert math.isnan(decode(json.loads(json.dumps(encode(float("nan"), "here"), allow_nan=False))))


def test_the_callbacks_of_the_library_come_back(tmp_path: Path) -> None:
    given = [
        EMA(0.9),
        EarlyStopping("val_f1", 4, higher_is_better=True),
        LearningRateMonitor(momentum=True),
        Profiler(str(tmp_path / "traces"), active=2),
        TensorBoard("s3://bucket/boards"),
    ]
    back = through_json(EstimatorParams(callbacks=given), tmp_path).getCallbacks()
    assert [type(each) for each in back] == [type(each) for each in given]
    assert [vars(each) for each in back] == [vars(each) for each in given]
    saved = params_to_json(EstimatorParams(callbacks=given), tmp_path / "again")["paramMap"]["callbacks"]
    # No file of the package is in the name.
    assert "sparkdl.train.callbacks:TensorBoard" in json.dumps(saved)


def test_params_of_every_kind(tmp_path: Path) -> None:
    register(loss_of_this_module)
    network = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    stage = EstimatorParams(
        module=network,
        moduleParams={"hidden": (3, 4)},
        loss=[loss_of_this_module, nn.HuberLoss, "mse"],
        optimizer=torch.optim.SGD,
        lrSchedule="StepLR",
        callbacks=[Halving(0.5)],
        epochs=3,
        storageOptions={"key": "secret"},
    )
    back = through_json(stage, tmp_path)
    assert "secret" not in json.dumps(params_to_json(stage, tmp_path / "again"))
    assert back.getStorageOptions() == {}
    same = ("moduleParams", "loss", "optimizer", "lrSchedule", "epochs", "batchSize", "featuresCol")
    assert [back.getOrDefault(name) for name in same] == [stage.getOrDefault(name) for name in same]
    assert isinstance(back.getCallbacks()[0], Halving)
    assert back.getCallbacks()[0].factor == 0.5
    made: Any = back.getModule()
    torch.testing.assert_close(made(torch.ones(1, 3)), network(torch.ones(1, 3)))
    assert not back.isSet("batchSize")


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"loss": lambda output, target: output}, "loss cannot be saved: loss holds .*<lambda>"),
        (
            {"moduleParams": {"width": {"deep": object()}}},
            "moduleParams cannot be saved: moduleParams.width.deep holds",
        ),
        ({"metrics": ["mse", loss_of_this_module.__get__(3)]}, r"metrics cannot be saved: metrics\[1\] holds"),
    ],
)
def test_what_has_no_saved_form_is_refused_by_name(settings_: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(PersistenceError, match=words):
        params_to_json(EstimatorParams(**settings_), tmp_path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"$": "object", "v": "os:system"}, "module refers to the function os:system: call sparkdl.register"),
        ({"$": "object", "v": "shutil:rmtree"}, "module refers to the function shutil:rmtree"),
        ({"$": "object", "v": "subprocess:Popen"}, "the class subprocess:Popen, which is no network"),
        ({"$": "object", "v": "antigravity:fly"}, "antigravity:fly, which is not known here: add `from antigravity"),
        ({"$": "callback", "class": "pathlib:Path", "state": {}}, "pathlib:Path, which is no sparkdl.train.Callback"),
        ({"$": "callback", "class": "torch.nn.modules.linear:Linear", "state": {}}, "is no sparkdl.train.Callback"),
        ({"$": "callback", "class": f"{__name__}:Halving", "state": {"on_step_end": "x"}}, "on_step_end is defined by"),
        (
            {"$": "callback", "class": f"{__name__}:Halving", "state": {"__class__": "x"}},
            "__class__ is one of Python's",
        ),
        ({"$": "callback", "class": f"{__name__}:Halving", "state": [1]}, "attributes are damaged"),
        ({"$": "object", "v": "torch.fx.graph_module:GraphModule"}, "GraphModule, which is refused: it is none of"),
        ({"$": "object", "v": "torch.distributed.optim:ZeroRedundancyOptimizer"}, "not known here|is refused"),
        ({"$": "network", "v": "../elsewhere"}, "lies outside of its own folder"),
        ({"$": "network", "v": "params/../params/module-0"}, "lies outside of its own folder"),
        (None, "module has no value"),
        ({"$": "pickle", "v": "gASVAA=="}, "unknown kind 'pickle'"),
        ({"$": "function", "v": "torch.load"}, "not among those that may be used"),
    ],
)
def test_references_in_a_file_do_not_reach_further_than_they_should(value: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(PersistenceError, match=words):
        set_params(EstimatorParams(), {"paramMap": {"module": value}}, tmp_path)


def test_trust_imports_and_takes_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_losses.py").write_text("def focal(output, target): return output - target\n")
    monkeypatch.syspath_prepend(tmp_path)
    saved = {"paramMap": {"loss": {"$": "object", "v": "their_losses:focal"}}}
    stage = EstimatorParams()
    with pytest.raises(PersistenceError, match="add `from their_losses import focal` before loading"):
        set_params(stage, saved, tmp_path)
    with trusted():
        set_params(stage, saved, tmp_path)
    loss: Any = stage.getLoss()
    assert loss(3, 1) == 2


def test_classes_of_installed_packages_are_saved_once_they_are_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Theirs(torch.optim.SGD):
        pass

    package = types.ModuleType("their_optimizers")
    package.__file__ = str(tmp_path / "site-packages" / "their_optimizers.py")
    package.Theirs = Theirs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_optimizers", package)
    Theirs.__module__, Theirs.__qualname__ = "their_optimizers", "Theirs"
    stage = EstimatorParams(optimizer=Theirs)
    with pytest.raises(PersistenceError, match=r"optimizer cannot be saved: .* call sparkdl.register on it"):
        params_to_json(stage, tmp_path)
    saved = {"paramMap": {"optimizer": {"$": "object", "v": "their_optimizers:Theirs"}}}
    with pytest.raises(PersistenceError, match=r"their_optimizers:Theirs, which is refused: .* sparkdl.register on it"):
        set_params(EstimatorParams(), saved, tmp_path)
    with trusted():
        set_params(EstimatorParams(), saved, tmp_path)
    register(Theirs)
    assert through_json(stage, tmp_path).getOptimizer() is Theirs


def test_callbacks_that_could_not_be_loaded_again_are_not_saved(tmp_path: Path) -> None:
    callback = Halving(0.5)
    callback.on_step_end = print  # type: ignore[method-assign]
    with pytest.raises(PersistenceError, match="a Halving that cannot be made again: on_step_end is defined by"):
        params_to_json(EstimatorParams(callbacks=[callback]), tmp_path)


def test_secrets_are_not_taken_from_a_file(tmp_path: Path) -> None:
    for place in ("paramMap", "defaultParamMap"):
        saved = {"paramMap": {}, place: {"storageOptions": {"endpoint_url": "http://elsewhere"}}}
        with pytest.raises(PersistenceError, match="it sets storageOptions, which is never saved"):
            set_params(EstimatorParams(), saved, tmp_path)


def test_param_of_a_later_version(tmp_path: Path) -> None:
    later = {"paramMap": {"warp": 9}, "defaultParamMap": {"warp": 1}, "sparkdlVersion": "9.9"}
    with pytest.raises(PersistenceError, match=r"has no Param 'warp'.*\(9.9\)"):
        set_params(EstimatorParams(), later, tmp_path)
    set_params(EstimatorParams(), {**later, "paramMap": {}}, tmp_path)
