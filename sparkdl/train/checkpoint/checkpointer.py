"""When a training takes a checkpoint, and which one it goes on from: what the loop asks, on every rank."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from typing import Any

import torch

from sparkdl.errors import ClusterError, PersistenceError, SettingError
from sparkdl.storage import access, urls
from sparkdl.train.checkpoint.config import EXACT, NEVER, CheckpointConfig
from sparkdl.train.checkpoint.exchange import share
from sparkdl.train.checkpoint.folder import CheckpointFolder, State, snapshot
from sparkdl.train.checkpoint.state import Parts, Position, capture, restore
from sparkdl.train.checkpoint.writer import Writer
from sparkdl.version import __version__

_JOB = "job.json"


class Checkpointer:
    """Saves and restores one training; rank 0 decides and writes, the others give it their part.

    Parameters
    ----------
    config : CheckpointConfig
    parts : Parts
        The training on this rank.
    say : callable of (str) -> None
        Takes lines for the user, on rank 0.
    """

    def __init__(self, config: CheckpointConfig, parts: Parts, say: Callable[[str], None]) -> None:
        self._config = config
        self._parts = parts
        self._say = say
        self._folder = CheckpointFolder(config.url, config.options)
        self._writer = Writer(self._folder, config.keep, config.resume == NEVER, say)
        self._last_step = 0
        self._last_time = time.monotonic()
        self._higher_is_better = bool(parts.train.measured.get(config.metric or ""))

    def resume(self) -> Position:
        """Put the training where the last checkpoint was taken; return where it goes on. Collective.

        Raises
        ------
        ClusterError
            The folder cannot be opened, or a rank does not see it.
        SettingError
            It cannot go on bit for bit, and `resume` asks for that.
        """
        parts, config = self._parts, self._config
        with access.explained(config.named, config.url, config.options):
            found = self._find() if parts.backend.rank == 0 else None
        state = share(found, parts.backend, parts.device)
        self._check_shared()
        if state is None:
            return Position()
        position, lost = restore(parts, state)
        self._last_step, self._last_time = parts.train.step, time.monotonic()
        self._say_position(position, state["epochs"])
        if lost:
            self._say(
                f"{', '.join(lost)} of epoch {position.epoch}: measured on a part of its rows, because what more ranks "
                "had measured before cannot be put together"
            )
        return position

    def due_in(self, steps_left: int) -> bool:
        """Return whether a checkpoint follows the next step. For rank 0; the others learn it from the step.

        Parameters
        ----------
        steps_left : int
            Of the epoch, before that step; the last step is followed by validation, and by `due_after` then.
        """
        if self._parts.backend.rank or steps_left <= 1:
            return False
        return self._is_due(self._parts.train.step + 1) and self._writer.free

    def due_after(self, epoch: int, ended: bool) -> bool:
        """Return whether the end of an epoch is one for a checkpoint. For rank 0."""
        if self._parts.backend.rank:
            return False
        due = epoch % self._config.interval == 0 or self._is_due(self._parts.train.step)
        return ended or (due and self._writer.free)

    def save(self, position: Position) -> None:
        """Take a checkpoint and begin to write it; the last one is waited for. Collective."""
        parts = self._parts
        state = capture(parts, position)
        if parts.backend.rank:
            return
        state["constants"] = dict(self._config.constants)
        try:
            taken = snapshot(parts.train.step, state, self._about(position))
        except PersistenceError as error:
            raise SettingError(f"{self._config.named}: a checkpoint cannot be taken: {error}") from error
        self._last_step, self._last_time = parts.train.step, time.monotonic()
        if position.ended:
            self._writer.finish(taken)
        else:
            self._writer.write(taken)

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.close()

    def _say_position(self, position: Position, epochs_then: int) -> None:
        parts = self._parts
        where = "after its last epoch" if position.ended else f"in epoch {position.epoch}, step {position.step}"
        url = access.shown(self._config.url)
        self._say(f"resumed {where} (step {parts.train.step} of the training), from {url}")
        epochs = parts.config.epochs
        if len(parts.history) > epochs:
            self._say(
                f"epochs={epochs} is less than the {len(parts.history)} epochs that this job was trained for "
                "already: its model is that of all of them"
            )
        elif parts.stepper.update.scheduled and epochs_then != epochs and not position.ended:
            self._say(
                f"the schedule of the learning rate is that of {epochs} epochs from here on; what was trained "
                f"before followed that of {epochs_then}"
            )

    def _is_due(self, step: int) -> bool:
        """Return whether a step is so many steps, or the time so many minutes, behind the last checkpoint."""
        steps, minutes = self._config.steps, self._config.minutes
        if steps is not None and step - self._last_step >= steps:
            return True
        return minutes is not None and time.monotonic() - self._last_time >= 60 * minutes

    def _find(self) -> State | None:
        """Return the state of the last checkpoint that is whole; the damaged ones after it are named."""
        access.probe(self._config.url, self._config.options)
        for step in reversed(self._folder.steps()):
            try:
                about = self._folder.about(step)
                if self._config.resume == NEVER and about.get("run") != self._config.run:
                    continue
                self._check_rows(about)
                if self._config.resume == EXACT:
                    self._check_exact(about)
                state, _ = self._folder.read(step)
            except PersistenceError as error:
                self._say(f"the checkpoint of step {step} is passed over: {error}")
                continue
            self._compare(about)
            return state
        self._say_beginning()
        return None

    def _say_beginning(self) -> None:
        """Say that nothing is gone on with, where somebody may have expected it."""
        base, _, own = self._config.url.rpartition("/")
        kind = own.rpartition("-")[0]
        jobs = [name for name, _ in urls.list_folder(base, self._config.options) if name.startswith(f"{kind}-")]
        others = len(set(jobs) - {own}) if self._config.alone else 0
        if others or self._folder.steps():
            beside = f", beside those of {others} other {'job' if others == 1 else 'jobs'}" if others else ""
            self._say(f"no checkpoint of this job can be gone on from in {access.shown(base)}{beside}: it begins anew")

    def _check_rows(self, about: dict[str, Any]) -> None:
        """Refuse a checkpoint within an epoch of rows that lie in other files: the rest of the epoch is another one."""
        if about.get("manifest") == self._config.about.get("manifest"):
            return
        if self._config.resume == EXACT:
            raise SettingError(
                "resume='exact' cannot go on bit for bit: the same rows lie in other files, and come in another order; "
                "set cacheUrl, which keeps them, or resume='auto'"
            )
        if about["position"][1]:
            raise PersistenceError("it lies within an epoch, and the rows lie in other files and another order now")

    def _check_exact(self, about: dict[str, Any]) -> None:
        now = self._surroundings()
        then = about.get("surroundings", {})
        others = [f"{name} was {then.get(name)!r} and is {now[name]!r}" for name in now if then.get(name) != now[name]]
        if others:
            raise SettingError(
                f"resume='exact' cannot go on bit for bit: {', '.join(others)}; use the same, or resume='auto'"
            )

    def _compare(self, about: dict[str, Any]) -> None:
        was, now = about.get("firstWeights"), self._config.about.get("firstWeights")
        if was != now:
            self._say(
                "the network's first weights are others than those that this job began with: training goes on from its "
                "checkpoint; set resume='never' to begin with the new ones"
            )

    def _check_shared(self) -> None:
        """Refuse a local folder that is another one on another host."""
        parts, config = self._parts, self._config
        if parts.backend.size == 1 or not urls.is_local(config.url):
            return
        if parts.backend.rank == 0:
            with urls.write_atomic(urls.join(config.url, _JOB), config.options) as stream:
                stream.write(config.run.encode())
        parts.backend.barrier()
        if not urls.exists(urls.join(config.url, _JOB), config.options):
            raise ClusterError(
                f"{config.named}: rank {parts.backend.rank} on host {platform.node()} does not see this folder, and a "
                "restart may run there: set checkpointUrl to a folder that all hosts share (hdfs://..., s3://..., or a "
                "shared mount)"
            )

    def _about(self, position: Position) -> dict[str, Any]:
        row = self._parts.history[-1] if self._parts.history and position.step == 0 else {}
        value = row.get(self._config.metric or "", math.nan)
        score = (-value if self._higher_is_better else value) if math.isfinite(value) else None
        return {
            **self._config.about,
            "run": self._config.run,
            "position": [position.epoch, position.step, position.ended],
            "score": score,
            "surroundings": self._surroundings(),
            "sparkdl": __version__,
        }

    def _surroundings(self) -> dict[str, Any]:
        """Return what has to be the same for the same bits."""
        backend, config = self._parts.backend, self._parts.config
        return {
            "ranks": backend.size,
            "backend": backend.name,
            "device": self._parts.device.type,
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "epochs": config.epochs if self._parts.stepper.update.scheduled else None,
            "matmulPrecision": config.matmul_precision,
            "compile": json.loads(json.dumps(config.compile, default=str)),
            "channels last": config.channels_last,
        }
