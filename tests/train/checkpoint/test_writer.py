"""The thread that writes checkpoints."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from sparkdl.train.checkpoint import writer as writer_module
from sparkdl.train.checkpoint.folder import CheckpointFolder, Snapshot, snapshot
from sparkdl.train.checkpoint.writer import Writer


def taken(step: int, **about: Any) -> Snapshot:
    return snapshot(step, {"weights": torch.ones(2)}, about)


def write_all(folder: CheckpointFolder, scores: dict[int, float | None], **settings: Any) -> list[int]:
    writer = Writer(folder, **{"keep": 2, "replaces": False, "warn": pytest.fail, **settings})
    for step, score in scores.items():
        writer.write(taken(step, score=score))
    writer.close()
    return folder.steps()


def test_the_last_ones_and_the_best_one_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path))
    assert write_all(folder, {1: 5.0, 2: 3.0, 3: None, 4: 4.0, 5: float("nan"), 6: 6.0}) == [2, 5, 6]
    # Another writer of the same folder knows what is there.
    assert write_all(folder, {7: 7.0}) == [2, 6, 7]
    assert write_all(folder, {8: 1.0, 9: 2.0, 10: 3.0}) == [8, 9, 10]


def test_new_ones_take_the_place_of_others(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path))
    write_all(folder, {10: None, 20: None})
    assert write_all(folder, {5: None}, replaces=True) == [5]


def test_damaged_and_half_written_ones_go_in_their_turn(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path))
    write_all(folder, {1: 1.0, 2: 2.0})
    (tmp_path / "step-000000000001" / "checkpoint.json").write_text("{")
    (tmp_path / "step-000000000003").mkdir()
    assert write_all(folder, {4: 4.0, 5: 5.0}) == [2, 4, 5]
    assert not (tmp_path / "step-000000000003").exists()


def test_a_store_that_does_not_answer_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_WAIT_LIMIT", 0.05)
    answer = threading.Event()

    class Silent(CheckpointFolder):
        def write(self, taken: Snapshot) -> None:
            answer.wait(60)

    said: list[str] = []
    writer = Writer(Silent(str(tmp_path)), 1, False, said.append)
    writer.write(taken(1))
    assert not writer.free
    writer.finish(taken(2))
    writer.close()
    assert set(said) == {"a checkpoint was not written within 0.05 s, and is given up"}
    answer.set()
