"""A network in a folder, and folders that were made to run code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.errors import PersistenceError
from sparkdl.network import Reference, resolve
from sparkdl.persistence import read_network, trusted, write_network
from sparkdl.persistence.weights import read_tensors, read_weights, write_weights
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

SCHEMA = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (4,)),))


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "ran")


def test_round_trip(tmp_path: Path) -> None:
    made = resolve("mlp", {"hidden": [3]}, SCHEMA, 2)
    write_network(made.module, made.reference, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.json", "weights.safetensors"]
    back = read_network(tmp_path, SCHEMA)
    torch.testing.assert_close(back.module(torch.ones(2, 4)), made.module(torch.ones(2, 4)))
    assert back.reference == made.reference


def test_tensors_keep_what_they_share_and_leave_the_rest(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    write_weights(
        {"a": base, "b": base, "bf16": torch.ones(2, dtype=torch.bfloat16), "scalar": torch.tensor(3)}, tmp_path
    )
    back = read_weights(tmp_path)
    assert back["a"].data_ptr() == back["b"].data_ptr()
    assert back["bf16"].dtype == torch.bfloat16
    assert back["scalar"].shape == ()


@pytest.mark.parametrize("kind", ["pickle", "torch", "nested", "list", "text", "truncated", "empty"])
def test_weights_that_are_none_are_refused_and_run_nothing(kind: str, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "weights.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(ran)))
    elif kind == "torch":
        torch.save(Bomb(ran), path)
    elif kind == "nested":
        torch.save({"w": torch.ones(1), "bomb": [Bomb(ran)]}, path)
    elif kind == "list":
        torch.save([torch.ones(1)], path)
    elif kind == "truncated":
        torch.save({"w": torch.ones(100)}, path)
        path.write_bytes(path.read_bytes()[:200])
    else:
        path.write_text("no" if kind == "text" else "")
    with pytest.raises(PersistenceError, match="weights.pt"):
        read_tensors(path)
    assert not ran.exists()


def test_pickle_beside_is_opened_only_with_trust(tmp_path: Path) -> None:
    made = resolve(lambda: nn.Sequential(nn.Linear(4, 2)), {}, SCHEMA)
    write_network(made.module, made.reference, tmp_path)
    ran = tmp_path / "ran"
    (tmp_path / "network.pkl").write_bytes(pickle.dumps(Bomb(ran)))
    read_network(tmp_path, SCHEMA)
    body = {"kind": "pickle", "reason": "of a lambda"}
    (tmp_path / "network.json").write_text(json.dumps(body))
    with pytest.raises(PersistenceError, match=r"as a pickle \(of a lambda\): load it with trusted=True"):
        read_network(tmp_path, SCHEMA)
    assert not ran.exists()
    with trusted(), pytest.raises(PersistenceError, match="the pickled network is a int"):
        read_network(tmp_path, SCHEMA)
    assert ran.exists()


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "[1]",
        "{}",
        '{"kind": "structure"}',
        '{"kind": "structure", "structure": {"$": "layer"}}',
        '{"kind": "name", "name": "mlp"}',
        '{"kind": "name", "name": "mlp", "params": {"inputs": "four", "outputs": 1}}',
        '{"kind": "structure", "structure": {"$": "same_layer", "v": "x"}}',
        '{"kind": "structure", "structure": ' + '{"a": ' * 900 + "1" + "}" * 901,
    ],
)
def test_damaged_descriptions(body: str, tmp_path: Path) -> None:
    write_network(nn.Linear(4, 2), Reference("structure"), tmp_path)
    (tmp_path / "network.json").write_text(body)
    with pytest.raises(PersistenceError):
        read_network(tmp_path, SCHEMA)


def test_network_without_json_form_is_saved_with_a_warning(tmp_path: Path) -> None:
    network = nn.Linear(4, 2)
    network.act = lambda x: x  # type: ignore[assignment]
    with pytest.warns(UserWarning, match=r"act holds the function .*<lambda>.* trusted=True"):
        write_network(network, Reference("structure"), tmp_path)
    with trusted():
        back = read_network(tmp_path, SCHEMA).module
    torch.testing.assert_close(back(torch.ones(1, 4)), network(torch.ones(1, 4)))
