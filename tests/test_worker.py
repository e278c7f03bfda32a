"""One rank's main on real files, alone: what it returns, and that it leaves nothing behind."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from sparkdl.cluster.job import RankContext
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import DataError, NetworkError
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig
from sparkdl.worker import fit

SCHEMA = DataSchema(
    (Field("x", INPUT, ARRAY, ("x",), "float32", (2,)), Field("y", LABEL, SCALAR, ("y",), "float32", (1,)))
)


def write(folder: Path, rows: int) -> Manifest:
    """Rows of two random numbers and their sum, in one file."""
    folder.mkdir()
    layout, path = RowLayout.of(SCHEMA), folder / "part-0.parquet"
    x = np.random.default_rng(rows).random((rows, 2), dtype=np.float32)
    packed = layout.pack({"x": x, "y": x.sum(1, keepdims=True)})
    pq.write_table(layout.to_table([packed]), path, compression="NONE", use_dictionary=False)
    return Manifest(str(folder), SCHEMA, (DataFile(path.name, 0, 0, (rows,), path.stat().st_size),))


def split(manifest: Manifest) -> tuple[Manifest, Plan]:
    return manifest, Plan.of(manifest, batch_size=16)


def context(events: list[Any], size: int = 1) -> RankContext:
    return RankContext(0, size, 0, size, "local", "cpu", 1, events.append)


def run(train: Manifest, validation: Manifest | None = None, events: list[Any] | None = None, **config: Any) -> Any:
    torch.manual_seed(0)
    return fit(
        context([] if events is None else events),
        module=nn.Linear(2, 1),
        config=TrainConfig(learning_rate=0.1, **config),
        train=split(train),
        validation=None if validation is None else split(validation),
        storage_options={},
    )


def test_a_rank_returns_weights_and_history(tmp_path: Path) -> None:
    events: list[Any] = []
    threads = threading.active_count()
    result = run(write(tmp_path / "train", 100), write(tmp_path / "held", 30), events, epochs=8)
    state = torch.load(io.BytesIO(result["state"]), weights_only=True)

    assert state["weight"].shape == (1, 2)
    assert [row["rows"] for row in result["history"]] == [100] * 8
    assert result["history"][-1]["val_loss"] < 0.5 * result["history"][0]["val_loss"]
    assert result["steps"] == 8 * 7
    assert result["seconds"]["total"] >= result["seconds"]["train"] > 0
    assert [event["event"] for event in events if event["event"] != "StepEnded"] == [
        "TrainingStarted",
        *["EpochEnded"] * 8,
    ]
    assert threading.active_count() == threads


def test_an_error_closes_the_readers(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(NetworkError, match="loss"):
        run(write(tmp_path / "train", 100), losses=(lambda output, target: output * float("nan"),))

    assert threading.active_count() == threads


def test_missing_files_are_found_before_training(tmp_path: Path) -> None:
    train = write(tmp_path / "train", 20)
    (tmp_path / "train" / "part-0.parquet").unlink()

    with pytest.raises(DataError, match="does not see .*part-0.parquet.*cacheUrl"):
        run(train)
