"""Saved stages that were made to run code: each place of a directory, opened by the public `load`."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl import TorchModel, TorchRegressor, trusted
from sparkdl.errors import PersistenceError, SettingError
from sparkdl.estimators.model import load_local
from sparkdl.network import check, resolve
from sparkdl.persistence import Savable, read_stage, write_stage
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

SCHEMA = DataSchema((Field("features", INPUT, ARRAY, ("features",), "float32", (3,)),))


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "ran")


def saved(stage: Savable, folder: Path) -> Path:
    folder.mkdir()
    write_stage(stage, folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = resolve(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), {}, SCHEMA)
    return saved(
        TorchModel._create(made.module, made.reference, SCHEMA, check(made.module, SCHEMA), [{"loss": 1.0}]),
        tmp_path / "model",
    )


@pytest.fixture
def estimator(tmp_path: Path) -> Path:
    return saved(TorchRegressor(module=nn.Linear(3, 1)), tmp_path / "estimator")


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def replaced(value: Any, old: Any, new: Any) -> Any:
    """Return nested JSON with `new` for every `old`."""
    if value == old:
        return new
    if isinstance(value, dict):
        return {key: replaced(item, old, new) for key, item in value.items()}
    return [replaced(item, old, new) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_in_place_of_any_file_runs_nothing(form: str, model: Path, estimator: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    tried = set()
    for cls, folder in ((TorchModel, model), (TorchRegressor, estimator)):
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
            whole = path.read_bytes()
            if form == "pickle":
                path.write_bytes(pickle.dumps(Bomb(ran)))
            else:
                torch.save({"bomb": Bomb(ran)}, path)
            with pytest.raises(PersistenceError, match=folder.name):
                read_stage(cls, folder, str(folder))
            path.write_bytes(whole)
            tried.add(path.name)
        read_stage(cls, folder, str(folder))
    assert tried >= {"part-00000", "network.json", "weights.pt", "history.json"}
    assert not ran.exists()


def test_files_that_are_put_beside_are_not_opened(model: Path, estimator: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for folder in (model, estimator, estimator / "params" / "module-0"):
        for name in ("network.pkl", "weights.pkl", "__init__.py", "sitecustomize.py"):
            (folder / name).write_bytes(pickle.dumps(Bomb(ran)))
    read_stage(TorchModel, model, str(model))
    read_stage(TorchRegressor, estimator, str(estimator))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os:system", "os:system is not known here"),
        ("subprocess:Popen", "subprocess:Popen is not known here"),
        ("builtins:eval", "builtins:eval is not known here"),
        ("torch.nn.modules.linear:Linear.__init__", "is not known here"),
        ("torch.nn.modules.container:Net", "add `from torch.nn.modules.container import Net` before loading"),
        ("side_effect:Net", "add `from side_effect import Net` before loading, or load with trusted=True"),
    ],
)
@pytest.mark.parametrize("place", ["layer", "call", "layer of a Param"])
def test_a_class_name_that_is_no_network_of_this_process(
    name: str, words: str, place: str, model: Path, estimator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "side_effect.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nimport torch\nclass Net(torch.nn.Module): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    in_param = place == "layer of a Param"
    cls: type[Savable] = TorchRegressor if in_param else TorchModel
    folder = estimator if in_param else model
    path = folder / "params" / "module-0" / "network.json" if in_param else folder / "network.json"
    if place == "call":
        path.write_text(json.dumps({"kind": "class", "name": name, "params": {"command": "true"}}))
    else:
        edited(path, lambda body: replaced(body, "torch.nn.modules.linear:Linear", name))
    with pytest.raises(PersistenceError, match=words):
        read_stage(cls, folder, str(folder))
    assert not (tmp_path / "ran").exists()
    assert "side_effect" not in sys.modules


def test_the_class_of_the_stage_is_never_imported(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_stage.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    edited(model / "metadata" / "part-00000", lambda body: {**body, "class": "evil_stage.TorchModel"})
    with pytest.raises(PersistenceError, match="it holds a evil_stage.TorchModel, not a sparkdl.TorchModel"):
        read_stage(TorchModel, model, str(model))
    with pytest.raises(PersistenceError, match="evil_stage.TorchModel, which is no model of sparkdl's"):
        load_local(model)
    with trusted(), pytest.raises(PersistenceError, match="evil_stage"):
        read_stage(TorchModel, model, str(model))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value", [{"$": "object", "v": "os:system"}, {"$": "network", "v": "../../model"}, ["os:system"]]
)
def test_params_that_refer_to_code(value: Any, estimator: Path, tmp_path: Path) -> None:
    def change(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "paramMap": {**body["paramMap"], "module": value}}

    edited(estimator / "metadata" / "part-00000", change)
    with pytest.raises((PersistenceError, SettingError), match="os:system|lies outside of its own folder"):
        read_stage(TorchRegressor, estimator, str(estimator))


def test_programs_of_torch_are_no_networks_of_a_stage(model: Path, tmp_path: Path) -> None:
    """TorchScript and pt2 files are programs; weights.pt is read by what makes tensors and nothing else."""
    network = nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(network), str(model / "weights.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(PersistenceError, match="weights.pt cannot be read as tensors"):
        read_stage(TorchModel, model, str(model))
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3),)), str(tmp_path / "net.pt2"))
    (model / "weights.pt").write_bytes((tmp_path / "net.pt2").read_bytes())
    with pytest.raises(PersistenceError, match="weights.pt"):
        read_stage(TorchModel, model, str(model))
