"""The training loop: fit -> run_epoch -> step; everything else hangs on it."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparkdl.comm.backend import Backend
from sparkdl.errors import DataError, SettingError, invalid
from sparkdl.events import TrainingStarted
from sparkdl.train.callbacks.callback import TrainState, call
from sparkdl.train.checkpoint.checkpointer import Checkpointer
from sparkdl.train.checkpoint.config import CheckpointConfig
from sparkdl.train.checkpoint.state import EpochSums, Parts, Position
from sparkdl.train.config import Feed, TrainConfig
from sparkdl.train.device_errors import device_errors_explained
from sparkdl.train.device_network import DeviceNetwork, device_of, laid_out
from sparkdl.train.history import History
from sparkdl.train.metrics import MetricSet
from sparkdl.train.optim import make_optimizer, make_schedule, trainable
from sparkdl.train.precision import matmul_precision
from sparkdl.train.progress import Emit, Progress
from sparkdl.train.scaling import slower_than_one
from sparkdl.train.step import Stepper
from sparkdl.train.validation import validate
from sparkdl.train.weights import broadcast_state, marks, weights_of


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves behind, the same on every rank.

    Attributes
    ----------
    state : dict of str to Tensor
        The module's state on the CPU: of the best epoch with early stopping, else of the last one. Also the tensors
        that `state_dict` leaves out and the training has changed.
    history : list of dict
        One for each epoch.
    best_epoch : int or None
        From 1; None without early stopping.
    steps : int
        Steps taken, skipped ones too.
    seconds : dict of str to float
        "setup", "train", "validate" and "wait" (for batches, a part of the middle two), on this rank.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int | None
    steps: int
    seconds: dict[str, float]


def fit(
    module: nn.Module,
    config: TrainConfig,
    train: Feed,
    validation: Feed | None,
    backend: Backend,
    emit: Emit | None = None,
    checkpoints: CheckpointConfig | None = None,
) -> FitResult:
    """Train a module. Every rank calls it with the same module, settings and number of steps.

    Parameters
    ----------
    module : nn.Module
        Is moved to the device and trained in place, from rank 0's weights.
    config : TrainConfig
    train : Feed
        Rows to learn from.
    validation : Feed or None
        Rows that are only measured.
    backend : Backend
    emit : callable, optional
        Takes the records of events; used on rank 0.
    checkpoints : CheckpointConfig, optional
        Where checkpoints are written, and from which one the training goes on.

    Returns
    -------
    FitResult

    Raises
    ------
    SettingError, NetworkError, DataError
        Settings, network or data cannot work; a loss that is not finite is a NetworkError on every rank, a step that
        needs more memory than there is a SettingError on the rank where that is so.

    Notes
    -----
    Layers draw their random numbers from torch's generators, seeded by seed + rank; the states that the caller had are
    put back at the end. numpy's and Python's generators are left alone.
    """
    began = time.monotonic()
    device = device_of(config)
    generators = torch.random.fork_rng([device] if device.type == "cuda" else [])
    # Outside: a GPU that has failed also fails where its generator is put back.
    with device_errors_explained(config, device), generators, matmul_precision(config.matmul_precision):
        torch.manual_seed(config.seed + backend.rank)
        return _Training(module, config, (train, validation), backend, emit, device, began, checkpoints).fit()


class _Training:
    """One fit on one rank: what its epochs share."""

    def __init__(
        self,
        module: nn.Module,
        config: TrainConfig,
        feeds: tuple[Feed, Feed | None],
        backend: Backend,
        emit: Emit | None,
        device: torch.device,
        began: float,
        checkpoints: CheckpointConfig | None,
    ) -> None:
        self.train, self.validation = feeds
        self.config, self.backend, self.device = config, backend, device
        _check(config, self.train)
        module = laid_out(module.to(device), config)
        if config.sync_batch_norm:
            module = backend.synchronize_batch_norm(module)
        parameters = trainable(module)
        broadcast_state(module, backend)
        self.module = module
        self.begun = marks(module)
        self.network = DeviceNetwork(module, config, device)
        self.metrics = MetricSet(config, backend, device, finite_only=self.network.precision.scales)
        self.measured = MetricSet(config, backend, device)
        optimizer = make_optimizer(config, parameters)
        schedule = make_schedule(config, optimizer, config.epochs * self.train.steps)
        self.stepper = Stepper(self.network, optimizer, schedule, config, backend, self.metrics)
        directions = {"loss": False, **self.metrics.directions()}
        held = {} if self.validation is None else {f"val_{name}": better for name, better in directions.items()}
        self.state = TrainState(backend.rank, backend.size, module, optimizer, measured={**directions, **held})
        self.progress = Progress(emit if backend.rank == 0 else None)
        self.history = History()
        self.sums = EpochSums()
        self.missing: set[str] = set()
        self.seconds = {"setup": time.monotonic() - began, "train": 0.0, "validate": 0.0, "wait": 0.0}
        self.checkpoints = None if checkpoints is None else Checkpointer(checkpoints, self._parts(), self.progress.say)

    def fit(self) -> FitResult:
        config, state, train = self.config, self.state, self.train
        call(config.callbacks, "on_train_begin", state)
        start = Position() if self.checkpoints is None else self.checkpoints.resume()
        self.progress.start(
            TrainingStarted(
                self.backend.size, config.epochs, train.steps, train.rows, self.device.type, start.epoch, start.step
            )
        )
        with ExitStack() as stack:
            if self.checkpoints is not None:
                stack.callback(self.checkpoints.close)
            ended, epoch = start.ended, start.epoch
            while not ended and epoch <= config.epochs:
                ended = self.run_epoch(epoch, start.step if epoch == start.epoch else 0)
                epoch += 1
        call(reversed(config.callbacks), "on_train_end", state)
        return FitResult(weights_of(self.module, self.begun), self.history, state.best_epoch, state.step, self.seconds)

    def run_epoch(self, epoch: int, first_step: int = 0) -> bool:
        """Train and validate once over the rows, or over the rest of them; return whether the training ends here."""
        state, callbacks = self.state, self.config.callbacks
        state.epoch = epoch
        if not first_step:
            state.logs, self.stepper.rows = {}, 0
            self.sums.clear()
            call(callbacks, "on_epoch_begin", state)
        measures = self.train_rows(epoch, first_step)
        call(callbacks, "on_validation_begin", state)
        if self.validation is not None:
            began = time.monotonic()
            logs = validate(self.network, self.validation, self.measured, self.backend, self.device)
            measures |= {f"val_{name}": value for name, value in logs.items()}
            self.seconds["validate"] += time.monotonic() - began
            self.seconds["wait"] += self.validation.wait_seconds
        row = {"epoch": epoch, **self._agreed(measures)}
        self._say_missing(epoch, {name: row[name] for name in measures})
        state.logs = dict(row)
        call(callbacks, "on_epoch_end", state)
        row = {name: float(value) for name, value in state.logs.items()} | row
        self.history.append(row)
        self.progress.epoch(epoch, row)
        return self._ends(epoch)

    def train_rows(self, epoch: int, first_step: int) -> dict[str, float]:
        """Take the steps of an epoch that are not taken yet; return loss and metrics."""
        state, stepper, steps, sums = self.state, self.stepper, self.train.steps, self.sums
        self.module.train()
        began = time.monotonic() - sums.seconds
        waited_before = sums.waited
        with closing(self.network.on_device(self.train.epoch(epoch - 1, first_step))) as batches:
            for number, batch in enumerate(batches, first_step + 1):
                where = _Position(epoch, number, steps)
                save = self.checkpoints is not None and self.checkpoints.due_in(steps - number + 1)
                # The first step tells at once what is wrong, and callbacks a loss.
                wait = number in (first_step + 1, steps)
                known = stepper.step(batch, where.__str__, state.stopping, save, wait=wait)
                state.step += 1
                stop, save = any(step.stop for step in known), any(step.save for step in known)
                if stop or save:
                    known += stepper.finish()
                sums.add(known)
                state.logs = {"loss": sums.mean_loss, "lr": stepper.update.lr}
                state.stopping = state.stopping or stop
                self.progress.step(epoch, number, steps, sums.mean_loss, sums.rows, began)
                call(self.config.callbacks, "on_step_end", state)
                if stop:
                    break
                if save and self.checkpoints is not None:
                    sums.seconds, sums.waited = time.monotonic() - began, waited_before + self.train.wait_seconds
                    self.checkpoints.save(Position(epoch, number))
        seconds, waited = time.monotonic() - began, waited_before + self.train.wait_seconds
        self.seconds["train"] += seconds
        self.seconds["wait"] += waited
        sums.seconds, sums.waited = seconds, waited
        self.backend.average_statistics(self.module, stepper.rows)
        if sums.skipped:
            self.progress.say(
                f"{sums.skipped} of {steps} steps of epoch {epoch} were too large for float16 and were left out, "
                "as their rows are of loss and metrics: precision='bf16' has a wider range"
            )
        return {"loss": sums.mean_loss, **self.metrics.compute()}

    def _say_missing(self, epoch: int, measures: dict[str, float]) -> None:
        """Say once what has no value, and why."""
        for name, value in measures.items():
            if not math.isnan(value) or name in self.missing:
                continue
            self.missing.add(name)
            reasons = self.measured.reasons if name.startswith("val_") else self.metrics.reasons
            reason = reasons.get(name.removeprefix("val_"), "")
            if not reason and name in ("loss", "val_loss"):
                reason = "by weights, class weights or ignored labels none of its rows counts"
                reason += ", and nothing is learned from it" if name == "loss" else ""
            self.progress.say(f"{name} of epoch {epoch} cannot be computed, and is NaN{reason and f': {reason}'}")

    def _agreed(self, measures: dict[str, float]) -> dict[str, float]:
        """Return the columns of an epoch, the same on every rank: measures are rank 0's word, times are means."""
        trained = self.sums
        mine = list(measures.values()) if self.backend.rank == 0 else [0.0] * len(measures)
        times = [trained.seconds, trained.waited, self.stepper.computing, self.stepper.summing]
        wire = torch.tensor([*mine, *times], dtype=torch.float64, device=self.device)
        self.backend.all_reduce(wire)
        values, times = wire[: len(mine)].tolist(), (wire[len(mine) :] / self.backend.size).tolist()
        seconds, waited, computing, summing = times
        if self.state.epoch == 1 and self.device.type == "cpu":
            said = slower_than_one(self.backend.size, self.train.steps, seconds, waited, computing, summing)
            if said is not None:
                self.progress.say(said)
        return {
            **dict(zip(measures, values, strict=True)),
            "lr": self.stepper.update.lr,
            "rows": trained.rows,
            "seconds": seconds,
            "rows_per_second": trained.rows / max(seconds, 1e-9),
            "wait_share": min(1.0, waited / max(seconds, 1e-9)),
        }

    def _ends(self, epoch: int) -> bool:
        """Agree with all ranks on the end, and on a checkpoint."""
        last = epoch == self.config.epochs
        if not self.config.callbacks and self.checkpoints is None:
            return last
        due = self.checkpoints is not None and self.checkpoints.due_after(epoch, last)
        votes = torch.tensor([self.state.stopping, due], dtype=torch.float64, device=self.device)
        self.backend.all_reduce(votes)
        stopping, saving = (votes > 0).tolist()
        self.state.stopping = stopping
        if self.checkpoints is not None and (saving or stopping):
            self.checkpoints.save(Position(epoch + 1, ended=last or stopping))
        return last or stopping

    def _parts(self) -> Parts:
        return Parts(
            self.module,
            self.begun,
            self.stepper,
            self.metrics,
            self.state,
            self.history,
            self.sums,
            self.seconds,
            self.config,
            self.backend,
            self.device,
        )


@dataclass(frozen=True)
class _Position:
    """Which step it is, put into words only when an error needs it."""

    epoch: int
    step: int
    steps: int

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step} of {self.steps}"


def _check(config: TrainConfig, train: Feed) -> None:
    if train.steps < 1:
        raise DataError(
            "there is no row to train on, or dropLast leaves out the only batch: give rows or lower batchSize"
        )
    for name, value in (("epochs", config.epochs), ("accumulationSteps", config.accumulation_steps)):
        if value < 1:
            raise SettingError(invalid(name, value, "an integer >= 1"))
    if config.gradient_clip_norm is not None and config.gradient_clip_norm <= 0:
        raise SettingError(invalid("gradientClipNorm", config.gradient_clip_norm, "a number > 0, or None"))
