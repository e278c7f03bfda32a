"""One rank's main on real files, alone: what it returns, and that it leaves nothing behind."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from sparkdl.cluster.job import RankContext
from sparkdl.comm.solo import SoloBackend
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import DataError, NetworkError
from sparkdl.schema import ARRAY, IMAGE, INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig
from sparkdl.worker import _channels_last, fit

SCHEMA = DataSchema(
    (Field("x", INPUT, ARRAY, ("x",), "float32", (2,)), Field("y", LABEL, SCALAR, ("y",), "float32", (1,)))
)


def write(folder: Path, rows: int, schema: DataSchema = SCHEMA, columns: Any = None) -> Manifest:
    """Rows of two random numbers and their sum, or of other columns, in one file."""
    folder.mkdir()
    layout, path = RowLayout.of(schema), folder / "part-0.parquet"
    x = np.random.default_rng(rows).random((rows, 2), dtype=np.float32)
    packed = layout.pack(columns or {"x": x, "y": x.sum(1, keepdims=True)})
    pq.write_table(layout.to_table([packed]), path, compression="NONE", use_dictionary=False)
    return Manifest(str(folder), schema, (DataFile(path.name, 0, 0, (rows,), path.stat().st_size),))


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


class Watching(nn.Module):
    """Notes how its images lie in memory."""

    seen: ClassVar[list[bool]] = []

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.layer(self.conv(x).flatten(1))


class Viewing(Watching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.layer(self.conv(x).view(len(x), -1))


@pytest.mark.parametrize(("kind", "last"), [(Watching, True), (Viewing, False)])
def test_images_get_their_channels_last_where_the_network_stays_the_same(
    tmp_path: Path, kind: type[Watching], last: bool
) -> None:
    schema = DataSchema(
        (Field("x", INPUT, IMAGE, ("x",), "float32", (3, 8, 8)), Field("y", LABEL, SCALAR, ("y",), "float32", (1,)))
    )
    random = np.random.default_rng(0)
    columns = {"x": random.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8), "y": random.random((20, 1), np.float32)}
    manifest = write(tmp_path / "train", 20, schema, columns)
    kind.seen.clear()
    torch.manual_seed(0)
    result = fit(
        context([]),
        module=kind(),
        config=TrainConfig(),
        train=split(manifest),
        validation=None,
        storage_options={},
    )
    state = torch.load(io.BytesIO(result["state"]), weights_only=True)
    assert kind.seen[-2:] == [last, last]
    assert state["conv.weight"].is_contiguous()


def test_all_ranks_follow_the_first_one() -> None:
    class Backend(SoloBackend):
        def __init__(self, rank: int, said: list[bool]) -> None:
            super().__init__()
            self.rank, self.size, self.said = rank, 2, said

        def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
            if self.rank == root:
                self.said.append(data.clone())
            else:
                data.copy_(self.said.pop())

    schema = DataSchema((Field("x", INPUT, IMAGE, ("x",), "float32", (3, 8, 8)),))
    for network, last in ((Watching(), True), (Viewing(), False)):
        said: list[Any] = []
        assert _channels_last(network, schema, TrainConfig(), Backend(0, said)) is last
        # What this rank would find does not count.
        assert _channels_last(Watching(), schema, TrainConfig(), Backend(1, said)) is last
