"""What TensorBoard reads back is the history."""

from __future__ import annotations

import sys

import fsspec
import pytest
import torch
from torch import nn

from sparkdl.errors import ClusterError
from sparkdl.train import LearningRateMonitor, TensorBoard, TrainState
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO


def _fit(memory_feed, *callbacks):
    pytest.importorskip("tensorboard")
    rows = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    feed = memory_feed(rows, rows.sum(1, keepdim=True))
    return fit(nn.Linear(2, 1), TrainConfig(epochs=2, callbacks=callbacks), feed, feed, SOLO).history


def _read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def _as_scalars(history):
    names = [name for name in history[0] if name != "epoch"]
    return {name: [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in history] for name in names}


def test_the_history_is_read_back(memory_feed, tmp_path):
    history = _fit(memory_feed, LearningRateMonitor(), TensorBoard(str(tmp_path)))
    (run,) = tmp_path.iterdir()
    scalars = _read(run)
    assert scalars == _as_scalars(history)
    assert {"loss", "val_loss", "lr", "lr_0"} <= set(scalars)


def test_a_url_takes_the_file_after_each_epoch(memory_feed, tmp_path):
    store = fsspec.filesystem("memory")
    seen = []

    class Look(LearningRateMonitor):
        def on_epoch_end(self, state):
            seen.append([store.size(path) for path in store.find("/boards")])

    history = _fit(memory_feed, TensorBoard("memory://boards"), Look())
    assert len(seen[0]) == len(seen[1]) == 1
    assert seen[0][0] < seen[1][0]
    store.get("/boards", str(tmp_path / "copy"), recursive=True)
    (run,) = (tmp_path / "copy").iterdir()
    assert _read(run) == _as_scalars(history)


def _state(rank):
    network = nn.Linear(1, 1)
    return TrainState(rank, 2, network, torch.optim.SGD(network.parameters()), logs={"loss": 1.0})


def test_other_ranks_do_nothing(tmp_path):
    callback = TensorBoard(str(tmp_path))
    callback.on_train_begin(_state(1))
    callback.on_epoch_end(_state(1))
    callback.on_train_end(_state(1))
    assert not list(tmp_path.iterdir())


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ClusterError, match=r"needs the package tensorboard on host .*'sparkdl-torch\[tensorboard\]'"):
        TensorBoard(str(tmp_path)).on_train_begin(_state(0))
