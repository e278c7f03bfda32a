"""Training on three Horovod ranks goes on from a checkpoint: bit for bit on as many, the same rows on fewer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.train.checkpoint.config import CheckpointConfig
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit

TIMES = {"seconds", "rows_per_second", "wait_share"}
ROWS, STEPS = 37, 4


def _network(dropout: float) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(dropout), nn.Linear(7, 3)
    )


def _train(
    memory_feed: Any,
    folder: str,
    backend: Any,
    dropout: float = 0.3,
    metrics: tuple[str, ...] = ("accuracy", "auroc"),
    steps: int = 1,
) -> tuple[Any, list[str]]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(ROWS, 5, generator=generator)
    y = x[:, :3].argmax(1, keepdim=True)
    config = TrainConfig(
        task="classification",
        losses=("cross_entropy",),
        metrics=metrics,
        num_classes=3,
        learning_rate=0.05,
        epochs=2,
        lr_schedule="OneCycleLR",
    )
    checkpoints = CheckpointConfig(folder, "checkpointUrl", steps=steps, keep=100, run="one")
    said: list[str] = []

    def emit(record: Any) -> None:
        if record["event"] == "Notice":
            said.append(record["text"])

    feeds = [memory_feed(*each, backend=backend) for each in ((x, y), (x[:9], y[:9]))]
    return fit(_network(dropout), config, feeds[0], feeds[1], backend, emit, checkpoints), said


def _cut(folder: Path, after: int, to: Path) -> None:
    """Copy the checkpoints up to a step."""
    for path in folder.glob("step-*"):
        if int(path.name.removeprefix("step-")) <= after:
            shutil.copytree(path, to / path.name)


def _measures(history: Any) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]


@pytest.mark.parametrize("step", [2, 4, 7])
def test_as_many_ranks_end_bit_for_bit_alike(ranks: Any, memory_feed: Any, tmp_path: Path, step: int) -> None:
    whole = ranks.run(lambda backend: _train(memory_feed, str(tmp_path / "whole"), backend))
    # A checkpoint is left out while the one before is being written.
    written = [int(path.name.removeprefix("step-")) for path in (tmp_path / "whole").glob("step-*")]
    expected = max((each for each in written if each <= step), default=0)
    _cut(tmp_path / "whole", step, tmp_path / "cut")
    again = ranks.run(lambda backend: _train(memory_feed, str(tmp_path / "cut"), backend))
    assert len(again[0][1]) == (expected > 0)
    for (one, _), (other, _) in zip(whole, again, strict=True):
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
        assert _measures(one.history) == _measures(other.history)


def test_fewer_ranks_take_the_rest_of_the_rows(ranks: Any, memory_feed: Any, tmp_path: Path) -> None:
    # The first checkpoint is the only one that is never left out because one is being written.
    settings: Any = {"dropout": 0.0, "steps": 3}
    whole = ranks.run(lambda backend: _train(memory_feed, str(tmp_path / "whole"), backend, **settings))
    _cut(tmp_path / "whole", 3, tmp_path / "cut")
    result, said = _train(memory_feed, str(tmp_path / "cut"), SoloBackend(), **settings)
    assert said[0].startswith("resumed in epoch 1, step 3 ")
    assert [row["rows"] for row in result.history] == [ROWS, ROWS]
    one = whole[0][0]
    # Batch norm takes its statistics of a rank's rows, so that the weights are alike and not the same.
    assert result.history[0]["loss"] == pytest.approx(one.history[0]["loss"], rel=0.05)
    assert result.history[0]["accuracy"] == pytest.approx(one.history[0]["accuracy"], abs=0.1)
    assert result.history[1]["lr"] == pytest.approx(one.history[1]["lr"])
