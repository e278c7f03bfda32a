"""A trace of some steps, by torch's profiler."""

from __future__ import annotations

import os
import socket
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from sparkdl.errors import SettingError
from sparkdl.storage import urls
from sparkdl.train.callbacks.callback import Callback, TrainState


class Profiler(Callback):
    """Writes a Chrome trace of a few steps of rank 0; chrome://tracing, Perfetto and TensorBoard show it.

    The file is called ``<host>_<process>.<time>.pt.trace.json``.

    Parameters
    ----------
    folder : str
        A path on the host of rank 0, or a URL that fsspec opens there without further options.
    wait, warmup, active : int
        Steps that are left out, that are profiled and thrown away, and that are kept.
    record_shapes, profile_memory, with_stack : bool
        What else `torch.profiler.profile` shall look at; each makes steps slower.

    Raises
    ------
    SettingError
        A number of steps is none.
    """

    __module__ = "sparkdl.train.callbacks"

    _profile: Any

    def __init__(
        self,
        folder: str,
        *,
        wait: int = 5,
        warmup: int = 1,
        active: int = 3,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
    ) -> None:
        for name, value, least in (("wait", wait, 0), ("warmup", warmup, 0), ("active", active, 1)):
            if value < least:
                raise SettingError(f"invalid {name}={value!r} of Profiler: expected an integer >= {least}")
        # A rank works in a folder of its own, which goes with it.
        self.folder = urls.local_path(folder) if urls.is_local(folder) else folder
        self.wait, self.warmup, self.active = wait, warmup, active
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack

    def on_train_begin(self, state: TrainState) -> None:
        self._profile = None
        if state.rank:
            return
        self._profile = torch.profiler.profile(
            schedule=torch.profiler.schedule(wait=self.wait, warmup=self.warmup, active=self.active, repeat=1),
            on_trace_ready=self._write,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
        )
        self._profile.start()

    def on_step_end(self, state: TrainState) -> None:
        if self._profile is not None:
            self._profile.step()
            if state.step == self.wait + self.warmup + self.active:
                self._end()

    def on_train_end(self, state: TrainState) -> None:
        if self._profile is not None:
            self._end()
            if state.step <= self.wait + self.warmup:
                warnings.warn(
                    f"Profiler has written no trace: the fit took {state.step} steps, and the first "
                    f"{self.wait + self.warmup} are not kept; lower wait",
                    stacklevel=2,
                )

    def _end(self) -> None:
        self._profile.stop()
        self._profile = None

    def _write(self, profile: Any) -> None:
        name = f"{socket.gethostname()}_{os.getpid()}.{time.time_ns()}.pt.trace.json"
        urls.make_folder(self.folder)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            profile.export_chrome_trace(str(path))
            urls.put_file(path, urls.join(self.folder, name))
