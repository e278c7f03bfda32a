"""A trace of the chosen steps is written once, and only by rank 0."""

from __future__ import annotations

import json
import warnings

import fsspec
import pytest
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.train import Profiler, TrainState
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from tests.train.loops import SOLO


def _fit(memory_feed, callback, epochs=3):
    rows = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    feed = memory_feed(rows, rows.sum(1, keepdim=True))
    return fit(nn.Linear(2, 1), TrainConfig(epochs=epochs, callbacks=(callback,)), feed, None, SOLO)


def _steps(trace):
    return [event["name"] for event in trace["traceEvents"] if event["name"].startswith("ProfilerStep#")]


def test_the_chosen_steps_are_in_the_trace(memory_feed, tmp_path):
    _fit(memory_feed, Profiler(str(tmp_path / "traces"), wait=2, warmup=1, active=2, record_shapes=True))
    (path,) = (tmp_path / "traces").glob("*.pt.trace.json")
    trace = json.loads(path.read_text())
    assert set(_steps(trace)) == {"ProfilerStep#3", "ProfilerStep#4"}
    assert any(event["name"] == "aten::addmm" for event in trace["traceEvents"])


def test_a_fit_that_ends_within_the_steps_leaves_what_there_is(memory_feed, tmp_path):
    _fit(memory_feed, Profiler(str(tmp_path), wait=0, warmup=1, active=100), epochs=1)
    (path,) = tmp_path.iterdir()
    assert set(_steps(json.loads(path.read_text()))) >= {"ProfilerStep#1", "ProfilerStep#2"}


def test_a_fit_that_is_too_short_says_so(memory_feed, tmp_path):
    with pytest.warns(UserWarning, match="the fit took 3 steps, and the first 6 are not kept; lower wait"):
        _fit(memory_feed, Profiler(str(tmp_path / "traces")), epochs=1)
    assert not (tmp_path / "traces").exists()


def test_a_url_takes_the_trace(memory_feed):
    _fit(memory_feed, Profiler("memory://profiles/run", wait=0, warmup=1, active=1))
    store = fsspec.filesystem("memory")
    (found,) = store.find("/profiles/run")
    assert _steps(json.loads(store.cat(found))) == ["ProfilerStep#1"]


def test_other_ranks_do_nothing(tmp_path):
    network = nn.Linear(1, 1)
    state = TrainState(1, 2, network, torch.optim.SGD(network.parameters()))
    callback = Profiler(str(tmp_path), wait=0, warmup=0, active=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_train_begin(state)
        state.step = 1
        callback.on_step_end(state)
        callback.on_train_end(state)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_that_of_the_process_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Profiler("traces").folder == str(tmp_path / "traces")
    with pytest.raises(SettingError, match="invalid active=0 of Profiler: expected an integer >= 1"):
        Profiler("traces", active=0)
