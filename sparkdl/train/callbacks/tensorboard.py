"""The history as TensorBoard's scalars."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from sparkdl.errors import ClusterError
from sparkdl.storage import urls
from sparkdl.train.callbacks.callback import Callback, TrainState


class TensorBoard(Callback):
    """Writes the history's columns as scalars after each epoch, from rank 0.

    Each fit has a folder of its own in `folder`, named by the time at which it began, so that
    ``tensorboard --logdir folder`` shows each as a run. Put it behind callbacks that add columns.

    Parameters
    ----------
    folder : str
        A path on the host of rank 0, or a URL that fsspec opens there without further options.

    Raises
    ------
    ClusterError
        When the fit begins: the package tensorboard is not installed there.
    """

    __module__ = "sparkdl.train.callbacks"

    _writer: Any
    _run: str
    _local: tempfile.TemporaryDirectory[str] | None

    def __init__(self, folder: str) -> None:
        # A rank works in a folder of its own, which goes with it.
        self.folder = urls.local_path(folder) if urls.is_local(folder) else folder

    def on_train_begin(self, state: TrainState) -> None:
        self._writer = self._local = None
        if state.rank:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ClusterError(
                f"the callback TensorBoard needs the package tensorboard on host {socket.gethostname()}, where rank 0 "
                "runs: pip install 'sparkdl-torch[tensorboard]' there"
            ) from error
        self._run = urls.join(self.folder, f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        urls.make_folder(self._run)
        if not urls.is_local(self.folder):
            self._local = tempfile.TemporaryDirectory()
        self._writer = SummaryWriter(self._run if self._local is None else self._local.name)

    def on_epoch_end(self, state: TrainState) -> None:
        if self._writer is None:
            return
        for name, value in state.logs.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, state.epoch)
        self._writer.flush()
        self._upload()

    def on_train_end(self, state: TrainState) -> None:
        if self._writer is not None:
            self._writer.close()
            self._upload()
        if self._local is not None:
            self._local.cleanup()

    def _upload(self) -> None:
        if self._local is not None:
            for path in Path(self._local.name).iterdir():
                urls.put_file(path, urls.join(self._run, path.name))
