"""Checkpoints in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sparkdl.errors import PersistenceError
from sparkdl.train.checkpoint.folder import CheckpointFolder, Snapshot, snapshot


def taken(step: int, **about: Any) -> Snapshot:
    return snapshot(step, {"weights": torch.full((3,), float(step)), "step": step}, about)


def test_reads_what_was_written(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "job"))
    assert folder.steps() == []
    for step in (5, 20, 10):
        folder.write(taken(step, score=step / 10))
    assert folder.steps() == [5, 10, 20]
    state, about = folder.read(10)
    assert torch.equal(state["weights"], torch.full((3,), 10.0))
    assert state["step"] == 10
    assert about == folder.about(10) == {"score": 1.0}


def test_a_snapshot_is_a_copy(tmp_path: Path) -> None:
    weights = torch.zeros(3)
    copied = snapshot(1, {"weights": weights, "again": weights.detach()}, {})
    weights += 1
    assert all(not tensor.any() for tensor in copied.tensors.values())


def test_a_step_can_be_written_again(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path))
    folder.write(taken(3, run="one"))
    folder.write(taken(3, run="two"))
    assert folder.about(3) == {"run": "two"}


def test_half_of_one_is_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path))
    folder.write(taken(1))
    folder.write(taken(2))
    index = tmp_path / "step-000000000002" / "checkpoint.json"
    index.unlink()
    (tmp_path / "something else").mkdir()
    assert folder.steps() == [1]
    folder.remove_incomplete()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["something else", "step-000000000001"]


@pytest.mark.parametrize("name", ["checkpoint.json", "state.safetensors"])
def test_no_changed_byte_passes(tmp_path: Path, name: str) -> None:
    folder = CheckpointFolder(str(tmp_path))
    folder.write(taken(1, score=0.5))
    path = tmp_path / "step-000000000001" / name
    good = path.read_bytes()
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(PersistenceError):
            folder.read(1)
    path.write_bytes(good)
    assert folder.read(1)[1] == {"score": 0.5}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"formatVersion": 2, "about": {}}'])
def test_an_index_that_is_none_is_an_error_of_ours(tmp_path: Path, content: bytes) -> None:
    folder = CheckpointFolder(str(tmp_path))
    folder.write(taken(1))
    (tmp_path / "step-000000000001" / "checkpoint.json").write_bytes(content)
    with pytest.raises(PersistenceError):
        folder.read(1)


def test_other_users_see_nothing(tmp_path: Path) -> None:
    CheckpointFolder(str(tmp_path / "job")).write(taken(1))
    assert (tmp_path / "job" / "step-000000000001").stat().st_mode & 0o077 == 0
    index = json.loads((tmp_path / "job" / "step-000000000001" / "checkpoint.json").read_text())
    assert index["formatVersion"] == 1
