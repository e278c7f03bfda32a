"""Saved stages in which any JSON value, or any bytes, are replaced by hostile ones: a stage, or a PersistenceError."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sparkdl import TorchClassificationModel, TorchEstimator, TorchModel
from sparkdl.errors import PersistenceError
from sparkdl.estimators.model import load_local
from sparkdl.network import check, resolve
from sparkdl.persistence import read_stage, write_stage
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field
from sparkdl.train.callbacks import Callback

SCHEMA = DataSchema((Field("features", INPUT, ARRAY, ("features",), "float32", (3,)),))
MARK = "canary-of-the-fuzz"
CODE = f"open('{MARK}', 'w').close()"
IDENTITY = {"$": "layer", "class": "torch.nn.modules.linear:Identity", "id": "evil", "state": {"src": CODE}}


class Counting(Callback):
    def __init__(self) -> None:
        self.limits = {"loss": float("inf"), "steps": (1, 2)}


class Net(nn.Module):
    def __init__(self, width: int = 2, act: Any = functional.relu) -> None:
        super().__init__()
        self.first = nn.Linear(3, width)
        self.rnn = nn.LSTM(width, 2, batch_first=True)
        self.act = act
        self.options = {"dims": (1, 2), 3: torch.float16, "norm": nn.LayerNorm, "size": torch.Size([2]), "set": {1}}
        self.register_buffer("shift", torch.zeros(2), persistent=False)
        self.again = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(self.act(self.again(x))[:, None])[0][:, 0] + self.shift


HOSTILE = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        3,
        10**6,
        10**12,
        10**30,
        -(10**12),
        0.5,
        1e308,
        "",
        CODE,
        "eval",
        "__class__",
        "..",
        "a\x00b",
    ),
    *("../../x/../../y", "os:system", "torch.fx.graph_module:GraphModule", "x" * 10_000, [], {}, [[]], [None], [CODE]),
    *([1] * 5000, {"eval": 1}, {"__class__": CODE}, {"$": "x"}, {"$": ["x"]}, {"$": None}, IDENTITY),
    {"$": "same_layer", "v": ""},
    {"$": "same_layer", "v": ["x"]},
    {"$": "layer", "class": "torch.fx.graph_module:GraphModule", "id": "g", "state": {"_code": CODE}},
    {"$": "layer", "class": "torch.nn.modules.rnn:LSTM", "id": "l", "state": {"_all_weights": 1, "num_layers": 10**12}},
    {"$": "tensor", "name": "0.weight"},
    {"$": "tensor", "name": "w", "parameter": True, "grad": True, "shape": [10**12], "dtype": "float32"},
    *(
        {"$": "class", "v": name}
        for name in ("torch.jit._script:ScriptModule", "os:system", "torch.nn.modules.rnn:LSTM")
    ),
    *({"$": "function", "v": name} for name in ("torch.load", "torch.relu", "os.system")),
    *({"$": "object", "v": name} for name in ("os:system", "subprocess:Popen", "torch.optim.sgd:SGD", "torch:load")),
    *({"$": "network", "v": place} for place in ("../..", "params/module-0", "/etc", "params")),
    {"$": "callback", "class": f"{__name__}:Counting", "state": {"on_step_end": CODE}},
    {"$": "callback", "class": "pathlib:Path", "state": {}},
    *({"$": kind, "v": [10**12]} for kind in ("tuple", "set", "size", "slice", "frozenset")),
    *({"$": kind, "v": [[[1], {}]]} for kind in ("dict", "ordered", "set")),
    *({"$": kind, "v": "x"} for kind in ("float", "dtype", "device", "tuple", "dict", "slice")),
    {"$": "dtype", "v": "load"},
    {"$": "device", "v": "cuda:99"},
    json.loads("[" * 400 + "]" * 400),
    json.loads('{"a": ' * 400 + "1" + "}" * 400),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("$"), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(["eval", "forward", "__class__", "_modules", "_forward_hooks", "$", "v", "", "../x", "uid", "0"])


def model_of(cls: Any, module: Any, params: dict[str, Any], **extra: Any) -> Any:
    made = resolve(module, params, SCHEMA, 2)
    history = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("nan")}]
    return cls._create(made.module, made.reference, SCHEMA, check(made.module, SCHEMA), history, **extra)


def stages() -> dict[str, Any]:
    layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.1), nn.Linear(2, 2))
    settings_ = {"module": nn.Linear(3, 2), "loss": nn.HuberLoss, "optimizer": torch.optim.SGD}
    return {
        "layers": model_of(TorchModel, Net(), {}, fill_value=0.5),
        "sequence": model_of(TorchModel, layers, {}).setOutputLayers({"0": "hidden"}),
        "call": model_of(TorchModel, Net, {"width": 4}),
        "name": model_of(TorchClassificationModel, "mlp", {"hidden": [2]}, num_classes=2, labels=["a", "b"]),
        "estimator": TorchEstimator(**settings_, callbacks=[Counting()], moduleParams={"x": (1, 2)}, epochs=3),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[type, dict[str, bytes]]]:
    """The class and the files of each stage."""
    found = {}
    for name, stage in stages().items():
        folder = tmp_path_factory.mktemp(name)
        write_stage(stage, folder)
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found[name] = type(stage), files
    return found


@pytest.fixture(scope="module")
def seen() -> list[str]:
    """What Python was told to run, import, open or start while `watched` was entered."""
    events: list[str] = []

    def hook(event: str, arguments: Any) -> None:
        if _ACTIVE and (
            MARK in repr(arguments) or event.startswith(("os.system", "os.exec", "subprocess.", "socket."))
        ):
            events.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(hook)
    return events


_ACTIVE: list[bool] = []


@contextmanager
def watched(seen: list[str]) -> Iterator[None]:
    _ACTIVE.append(True)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _ACTIVE.clear()
    assert seen == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the way to each value of nested JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


def renamed(value: Any, path: tuple[Any, ...], key: str) -> Any:
    """Return nested JSON in which the last key of a way is another one."""
    if len(path) > 1:
        copied = value.copy()
        copied[path[0]] = renamed(value[path[0]], path[1:], key)
        return copied
    return (
        {(key if name == path[0] else name): item for name, item in value.items()} if isinstance(value, dict) else value
    )


def attempt(cls: type, files: dict[str, bytes], seen: list[str]) -> str:
    """Load a stage of these files, as a stage and without Spark; return what came out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, data in files.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(data)
        outcome = []
        for load in (lambda: read_stage(cls, folder, name), lambda: load_local(folder)):
            with watched(seen):
                try:
                    load()
                    outcome.append("loaded")
                except PersistenceError as error:
                    outcome.append("refused" if len(str(error)) < 5000 else f"refused at length: {error!s:.200}")
        return " ".join(outcome)


def changed_json(data: st.DataObject, text: bytes) -> bytes:
    value = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(value))))
        if path and data.draw(st.booleans()):
            value = renamed(value, path, data.draw(KEYS))
        else:
            value = replaced(value, path, data.draw(st.sampled_from(HOSTILE) | JSON))
    return json.dumps(value).encode()


NAMES = ("layers", "sequence", "call", "name", "estimator")
# Without shrinking, which takes minutes: the values are few and speak for themselves.
fuzz = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])


@settings(fuzz, max_examples=120)
@given(st.data())
@pytest.mark.parametrize("name", NAMES)
def test_any_value_replaced(name: str, saved: Any, seen: list[str], data: st.DataObject) -> None:
    cls, files = saved[name]
    readable = sorted(place for place, content in files.items() if content.startswith((b"{", b"[")))
    place = data.draw(st.sampled_from(readable))
    assert "length" not in attempt(cls, {**files, place: changed_json(data, files[place])}, seen)


@settings(fuzz, max_examples=60)
@given(st.data())
@pytest.mark.parametrize("name", ["layers", "name"])
def test_any_bytes_replaced(name: str, saved: Any, seen: list[str], data: st.DataObject) -> None:
    cls, files = saved[name]
    place = data.draw(st.sampled_from(sorted(place for place, content in files.items() if content)))
    content = bytearray(files[place])
    start = data.draw(st.integers(0, len(content) - 1))
    count = data.draw(st.integers(0, 20))
    content[start : start + count] = data.draw(st.binary(max_size=20))
    attempt(cls, {**files, place: bytes(content)}, seen)


@pytest.mark.parametrize("name", NAMES)
def test_each_hostile_value_in_each_place_of_the_metadata_and_of_a_layer(
    name: str, saved: Any, seen: list[str]
) -> None:
    cls, files = saved[name]
    outcomes = set()
    for place in ("metadata/part-00000", "network.json"):
        if place not in files:
            continue
        value = json.loads(files[place])
        short = [path for path in places(value) if len(path) < 4]
        for index, path in enumerate(short):
            # Each place meets a third of the values, each value a third of the places.
            for new in HOSTILE[index % 3 :: 3]:
                text = json.dumps(replaced(value, path, new)).encode()
                outcomes.add(attempt(cls, {**files, place: text}, seen))
    assert "refused refused" in outcomes
    assert attempt(cls, files, seen) == ("loaded refused" if name == "estimator" else "loaded loaded")
