"""A training that was interrupted and resumed ends as the one that was not, bit for bit."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import SettingError
from sparkdl.train import EMA, Callback, EarlyStopping
from sparkdl.train.checkpoint.config import EXACT, NEVER, CheckpointConfig
from sparkdl.train.checkpoint.folder import CheckpointFolder
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import FitResult, fit

STEPS, EPOCHS = 4, 3
TIMES = {"seconds", "rows_per_second", "wait_share"}


class Interrupted(Exception):
    pass


class Interrupt(Callback):
    """Raises after a step, or before it can be saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: Any) -> None:
        if state.step == self.step:
            raise Interrupted


class Patient(Callback):
    """Takes no step before the last checkpoint is written: without it one may be left out."""

    def on_step_end(self, state: Any) -> None:
        for thread in threading.enumerate():
            if thread.name == "sparkdl-checkpoint":
                thread.join(60)


def network(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 3))


def rows(count: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, 5, generator=generator)
    return x, x[:, :3].argmax(1, keepdim=True)


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "task": "classification",
            "losses": ("cross_entropy",),
            "metrics": ("accuracy",),
            "num_classes": 3,
            "learning_rate": 0.05,
            "epochs": EPOCHS,
            **settings,
        }
    )


def train(
    memory_feed: Any,
    settings: TrainConfig,
    checkpoints: CheckpointConfig | None = None,
    said: list[str] | None = None,
    seed: int = 3,
) -> FitResult:
    x, y = rows()
    feed, held = memory_feed(x, y), memory_feed(x[:9], y[:9])

    def emit(record: Any) -> None:
        if said is not None and record["event"] == "Notice":
            said.append(record["text"])

    return fit(network(seed), settings, feed, held, SoloBackend(), emit, checkpoints)


def at(folder: Path, **settings: Any) -> CheckpointConfig:
    return CheckpointConfig(str(folder), f"checkpointUrl={str(folder)!r}", **{"run": "one", **settings})


def assert_same(one: FitResult, other: FitResult) -> None:
    assert one.state.keys() == other.state.keys()
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert (one.steps, one.best_epoch) == (other.steps, other.best_epoch)
    assert len(one.history) == len(other.history)
    for row, expected in zip(one.history, other.history, strict=True):
        assert {n: v for n, v in row.items() if n not in TIMES} == {n: v for n, v in expected.items() if n not in TIMES}


SETTINGS = {
    "adamw, a schedule": {"lr_schedule": "OneCycleLR"},
    "sgd with momentum, clipping, accumulation": {
        "optimizer": "sgd",
        "optimizer_params": {"momentum": 0.9},
        "gradient_clip_norm": 0.1,
        "accumulation_steps": 2,
    },
    "averages and early stopping": {"callbacks": (EMA(0.9), EarlyStopping("val_loss", patience=1))},
    "milestones": {"lr_schedule": "MultiStepLR", "lr_schedule_params": {"milestones": [2, 7], "gamma": 0.5}},
    "rprop": {"optimizer": "rprop", "lr_schedule": "CosineAnnealingLR", "metrics": ("auroc", "cohen_kappa")},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("step", [1, 3, 4, 7, 12])
def test_equals_the_undisturbed_run(memory_feed: Any, tmp_path: Path, name: str, step: int) -> None:
    settings = config(**SETTINGS[name])
    whole = train(memory_feed, settings)
    interrupted = replace(settings, callbacks=(*settings.callbacks, Interrupt(step)))
    checkpoints = at(tmp_path, steps=1)
    with pytest.raises(Interrupted):
        train(memory_feed, interrupted, checkpoints)
    torch.manual_seed(99)
    said: list[str] = []
    callbacks = (*settings.callbacks, Callback())
    assert_same(train(memory_feed, replace(settings, callbacks=callbacks), checkpoints, said), whole)
    assert (len(said) == 1) == (step > 1), said


def test_a_training_with_channels_last_goes_on_bit_for_bit(memory_feed: Any, tmp_path: Path) -> None:
    def images(settings: TrainConfig, checkpoints: CheckpointConfig | None = None) -> FitResult:
        torch.manual_seed(3)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
        x, y = torch.rand(37, 3, 5, 5, generator=torch.Generator().manual_seed(5)), rows()[1]
        return fit(layers, settings, memory_feed(x, y), None, SoloBackend(), None, checkpoints)

    settings = config(channels_last=True)
    whole, checkpoints = images(settings), at(tmp_path, steps=1)
    with pytest.raises(Interrupted):
        images(replace(settings, callbacks=(Interrupt(6),)), checkpoints)
    assert_same(images(replace(settings, callbacks=(Callback(),)), checkpoints), whole)


class Drifting(nn.Module):
    """Learns something that is no part of its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(5, 3)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.mean = torch.zeros(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += len(x)
            self.mean = self.mean.lerp(x.mean(0), 0.2)
        return self.layer(x - self.mean)


@pytest.mark.parametrize("callbacks", [(), (EarlyStopping("val_loss", patience=1),)])
def test_tensors_beside_the_state_are_kept(memory_feed: Any, tmp_path: Path, callbacks: tuple[Callback, ...]) -> None:
    x, y = rows()
    feed = memory_feed(x, y)

    def run(checkpoints: CheckpointConfig | None, *more: Callback) -> FitResult:
        settings = config(callbacks=(*callbacks, *more))
        return fit(Drifting(), settings, feed, feed, SoloBackend(), None, checkpoints)

    whole = run(None)
    assert whole.state["seen"] == 37 * (whole.best_epoch or EPOCHS)
    assert whole.state["mean"].any()
    with pytest.raises(Interrupted):
        run(at(tmp_path, steps=1), Interrupt(7))
    assert_same(run(at(tmp_path, steps=1), Callback()), whole)


def test_checkpoints_change_nothing(memory_feed: Any, tmp_path: Path) -> None:
    assert_same(train(memory_feed, config(), at(tmp_path, steps=1)), train(memory_feed, config()))


def test_a_finished_one_takes_no_step(memory_feed: Any, tmp_path: Path) -> None:
    whole = train(memory_feed, config(callbacks=(Callback(),)), at(tmp_path))

    class NoStep(Callback):
        def on_step_end(self, state: Any) -> None:
            raise AssertionError("a step was taken")

    assert_same(train(memory_feed, config(callbacks=(NoStep(),)), at(tmp_path)), whole)


def test_goes_on_with_more_epochs(memory_feed: Any, tmp_path: Path) -> None:
    train(memory_feed, config(), at(tmp_path))
    said: list[str] = []
    longer = train(memory_feed, config(epochs=5), at(tmp_path), said)
    assert said == [f"resumed in epoch 4, step 0 (step 12 of the training), from {tmp_path}"]
    assert_same(longer, train(memory_feed, config(epochs=5)))


def test_fewer_epochs_than_were_trained_are_said(memory_feed: Any, tmp_path: Path) -> None:
    whole = train(memory_feed, config(), at(tmp_path))
    said: list[str] = []
    assert_same(train(memory_feed, config(epochs=2), at(tmp_path), said), whole)
    assert said[1].startswith("epochs=2 is less than the 3 epochs that this job was trained for already")


def test_fewer_epochs_than_a_schedule_has_seen(memory_feed: Any, tmp_path: Path) -> None:
    whole = train(memory_feed, config(lr_schedule="OneCycleLR"), at(tmp_path))
    assert_same(train(memory_feed, config(lr_schedule="OneCycleLR", epochs=2), at(tmp_path)), whole)


def test_a_beginning_beside_other_jobs_is_said(memory_feed: Any, tmp_path: Path) -> None:
    said: list[str] = []
    train(memory_feed, config(), at(tmp_path / "Kind-a"), said)
    assert said == []
    train(memory_feed, config(), at(tmp_path / "Kind-b"), said)
    assert said == [
        f"no checkpoint of this job can be gone on from in {tmp_path}, beside those of 1 other job: it begins anew"
    ]


def test_a_schedule_is_that_of_all_epochs_when_there_are_more(memory_feed: Any, tmp_path: Path) -> None:
    schedule = {"lr_schedule": "OneCycleLR"}
    train(memory_feed, config(**schedule), at(tmp_path))
    said: list[str] = []
    longer = train(memory_feed, config(epochs=5, **schedule), at(tmp_path), said)
    assert said[1].startswith("the schedule of the learning rate is that of 5 epochs from here on")
    undisturbed = train(memory_feed, config(epochs=5, **schedule))
    assert [row["lr"] for row in longer.history[3:]] == [row["lr"] for row in undisturbed.history[3:]]


def test_early_stopping_stays_stopped(memory_feed: Any, tmp_path: Path) -> None:
    stopping = {"callbacks": (EarlyStopping("val_loss", patience=1),), "learning_rate": 1e-12, "epochs": 9}
    whole = train(memory_feed, config(**stopping), at(tmp_path))
    assert len(whole.history) < 9
    assert_same(train(memory_feed, config(**{**stopping, "epochs": 12}), at(tmp_path)), whole)


def test_keeps_the_last_and_the_best(memory_feed: Any, tmp_path: Path) -> None:
    result = train(memory_feed, config(epochs=8, callbacks=(Patient(),)), at(tmp_path, keep=2, metric="val_loss"))
    steps = CheckpointFolder(str(tmp_path)).steps()
    best = min(result.history, key=lambda row: row["val_loss"])["epoch"]
    assert steps == sorted({28, 32, STEPS * int(best)})


def test_passes_over_a_damaged_one_and_names_it(memory_feed: Any, tmp_path: Path) -> None:
    train(memory_feed, config(callbacks=(Patient(),)), at(tmp_path))
    path = tmp_path / "step-000000000012" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    said: list[str] = []
    again = train(memory_feed, config(callbacks=(Patient(),)), at(tmp_path), said)
    assert_same(again, train(memory_feed, config()))
    assert said[0].startswith("the checkpoint of step 12 is passed over: state.safetensors has not the")
    assert said[1] == f"resumed in epoch 3, step 0 (step 8 of the training), from {tmp_path}"


def test_never_begins_anew_and_resumes_only_its_own(memory_feed: Any, tmp_path: Path) -> None:
    train(memory_feed, config(), at(tmp_path))
    other = at(tmp_path, resume=NEVER, run="two", steps=2)
    with pytest.raises(Interrupted):
        train(memory_feed, config(callbacks=(Patient(), Interrupt(7))), other)
    folder = CheckpointFolder(str(tmp_path))
    assert {folder.about(step)["run"] for step in folder.steps()} == {"two"}
    said: list[str] = []
    again = train(memory_feed, config(callbacks=(Callback(), Callback())), other, said)
    assert_same(again, train(memory_feed, config()))
    assert said == [f"resumed in epoch 2, step 2 (step 6 of the training), from {tmp_path}"]


def test_exact_is_refused_where_it_cannot_be(memory_feed: Any, tmp_path: Path) -> None:
    train(memory_feed, config(lr_schedule="OneCycleLR"), at(tmp_path))
    train(memory_feed, config(lr_schedule="OneCycleLR"), at(tmp_path, resume=EXACT))
    with pytest.raises(SettingError, match="resume='exact' cannot go on bit for bit: epochs was 3 and is 5"):
        train(memory_feed, config(lr_schedule="OneCycleLR", epochs=5), at(tmp_path, resume=EXACT))
    others = {"matmul_precision": "medium", "compile": {"backend": "eager"}}
    with pytest.raises(SettingError, match="matmulPrecision was 'highest' and is 'medium', compile was False and is {"):
        train(memory_feed, config(lr_schedule="OneCycleLR", **others), at(tmp_path, resume=EXACT))
    train(memory_feed, config(lr_schedule="OneCycleLR", **others), at(tmp_path))


def test_other_first_weights_are_said(memory_feed: Any, tmp_path: Path) -> None:
    train(memory_feed, config(), at(tmp_path, about={"firstWeights": "a"}))
    said: list[str] = []
    train(memory_feed, config(epochs=4), at(tmp_path, about={"firstWeights": "b"}), said)
    assert "the network's first weights are others" in said[0]


def test_a_callback_whose_state_cannot_be_saved_is_named(memory_feed: Any, tmp_path: Path) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"file": object()}

    with pytest.raises(SettingError, match=r"state\.callbacks\.0\.file is of type object"):
        train(memory_feed, config(callbacks=(Odd(),)), at(tmp_path))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_goes_on_on_a_gpu(memory_feed: Any, tmp_path: Path, precision: str) -> None:
    settings = config(device="cuda", precision=precision, callbacks=(EMA(0.9), Patient(), Interrupt(99)))
    whole = train(memory_feed, settings)
    with pytest.raises(Interrupted):
        train(memory_feed, replace(settings, callbacks=(EMA(0.9), Patient(), Interrupt(7))), at(tmp_path, steps=1))
    said: list[str] = []
    resumed = train(memory_feed, settings, at(tmp_path, steps=1), said)
    assert len(said) == 1
    assert said[0].startswith("resumed in epoch 2, step ")
    for name, tensor in whole.state.items():
        torch.testing.assert_close(resumed.state[name], tensor, rtol=1e-3, atol=1e-4)
