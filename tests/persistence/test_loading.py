"""Saved stages that were made to run code: each place of a directory, opened by the public `load`."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from contextlib import nullcontext
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
from sparkdl.tracking.directory import write_pipeline

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
    assert tried >= {"part-00000", "network.json", "weights.safetensors", "history.json"}
    assert not ran.exists()


def test_files_that_are_put_beside_are_not_opened(model: Path, estimator: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for folder in (model, estimator, estimator / "params" / "module-0"):
        for name in ("network.pkl", "weights.pkl", "weights.pt", "__init__.py", "sitecustomize.py"):
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
    """TorchScript and pt2 files are programs; weights are read by what makes tensors and nothing else."""
    (model / "weights.safetensors").unlink()
    network = nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(network), str(model / "weights.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(PersistenceError, match="weights.pt cannot be read as tensors"):
        read_stage(TorchModel, model, str(model))
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3),)), str(tmp_path / "net.pt2"))
    (model / "weights.pt").write_bytes((tmp_path / "net.pt2").read_bytes())
    with pytest.raises(PersistenceError, match="weights.pt"):
        read_stage(TorchModel, model, str(model))


UIDS = ["x/../../y", "../x", "/x", "..", ".hidden", "", "a b", "a\n", "a\x00", "x" * 300, 3, None, ["x"]]


@pytest.mark.parametrize("uid", UIDS, ids=repr)
def test_uids_become_folders_and_are_checked(uid: Any, model: Path, tmp_path: Path) -> None:
    made = read_stage(TorchModel, model, str(model))
    edited(model / "metadata" / "part-00000", lambda body: {**body, "uid": uid})
    with pytest.raises(PersistenceError, match="invalid uid="):
        read_stage(TorchModel, model, str(model))
    with pytest.raises(PersistenceError, match="invalid uid="):
        load_local(model)
    with trusted(), pytest.raises(PersistenceError, match="invalid uid="):
        read_stage(TorchModel, model, str(model))
    made.uid = uid
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PersistenceError, match="invalid uid="):
        write_pipeline(made, tmp_path / "model" / "sparkml")
    with pytest.raises(PersistenceError, match="invalid uid="):
        write_stage(made, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_uids_as_users_choose_them(model: Path, tmp_path: Path) -> None:
    made = read_stage(TorchModel, model, str(model))
    for uid in ("TorchModel_0123456789ab", "my-model.v2", "Größe_1", "1"):
        made._resetUid(uid)
        folder = saved(made, tmp_path / uid)
        assert read_stage(TorchModel, folder, str(folder)).uid == uid


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": [{"name": "features", "shape": [10**12]}]}, "its schema is damaged"),
        ({"schema": "none"}, "its schema is damaged"),
        ({"outputs": [[-1]]}, "the shapes of its outputs are damaged"),
        ({"outputs": [[1] * 100]}, "the shapes of its outputs are damaged"),
        ({"extra": {"num_classes": "two"}}, "what it says of its task is damaged"),
        ({"extra": {"labels": [1]}}, "what it says of its task is damaged"),
        ({"extra": {"fill_value": "zero"}}, "what it says of its task is damaged"),
        ({"paramMap": {"epochs": 3}}, "has no Param 'epochs'"),
        ({"paramMap": {"batchSize": -7}}, "batchSize"),
        ({"paramMap": {"params": 3}}, "has no Param 'params'"),
        ({"paramMap": []}, "its metadata are damaged"),
        ({"formatVersion": "1"}, "format version '1'"),
        ({"class": 3}, "it holds a 3"),
    ],
    ids=str,
)
def test_damaged_metadata(change: dict[str, Any], words: str, model: Path) -> None:
    edited(model / "metadata" / "part-00000", lambda body: {**body, **change})
    with pytest.raises(PersistenceError, match=words):
        read_stage(TorchModel, model, str(model))
    with pytest.raises(PersistenceError, match=words.replace("it holds a 3", "there is a 3, which is no model")):
        load_local(model)


def test_what_does_not_fit_together_is_an_error_of_the_saved_model(model: Path) -> None:
    edited(model / "metadata" / "part-00000", lambda body: {**body, "paramMap": {"outputCols": ["a", "b"]}})
    with pytest.raises(PersistenceError, match=f"{model}: what is saved there does not fit together: .* 2 columns"):
        load_local(model)


def test_json_that_is_larger_than_any_of_ours(model: Path) -> None:
    with open(model / "network.json", "r+b") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(PersistenceError, match="network.json is not JSON: .*more than 16,777,216 bytes"):
        read_stage(TorchModel, model, str(model))


def test_a_network_of_a_param_that_is_a_link_to_elsewhere(estimator: Path, tmp_path: Path) -> None:
    (estimator / "params" / "module-0").rename(tmp_path / "elsewhere")
    (estimator / "params" / "module-0").symlink_to(tmp_path / "elsewhere")
    for trust in (nullcontext(), trusted()):
        with trust, pytest.raises(PersistenceError, match="lies outside of its own folder"):
            read_stage(TorchRegressor, estimator, str(estimator))


def test_a_network_that_contains_itself_is_an_error(model: Path) -> None:
    inner = {"$": "same_layer", "v": ""}
    edited(
        model / "network.json",
        lambda body: replaced(body, body["structure"]["state"]["_modules"]["v"][1][1], inner),
    )
    with pytest.raises(PersistenceError, match="hold each other in more ways"):
        read_stage(TorchModel, model, str(model))
