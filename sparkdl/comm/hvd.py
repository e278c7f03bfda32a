"""Ranks that talk through Horovod: the only file that imports it for training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sparkdl.comm.backend import Backend

if TYPE_CHECKING:
    import torch


class HorovodBackend(Backend):
    """A group that a launcher has described in HOROVOD_* variables.

    Horovod's own errors (`HorovodInternalError`, when another rank is gone) pass through as they are, so that the
    launcher can rank them behind their cause.

    Parameters
    ----------
    timeout : float
        Seconds for the meeting of the ranks and for a collective that some rank does not enter; a launcher's
        HOROVOD_GLOO_TIMEOUT_SECONDS and HOROVOD_STALL_SHUTDOWN_TIME_SECONDS win.
    device : str
        "cuda" takes this rank's GPU as the current one.
    """

    def __init__(self, *, timeout: float = 300.0, device: str = "cpu") -> None:
        # Horovod reads these in init(). A stall ends the group some time after Horovod's own warning, which
        # has to come first.
        seconds = max(1, int(timeout))
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(seconds))
        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", str(seconds))
        os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", str(max(1, min(60, seconds // 2))))
        import horovod.torch as hvd

        self._hvd = hvd
        hvd.init()
        self.name = "horovod"
        self.rank, self.size, self.local_rank = int(hvd.rank()), int(hvd.size()), int(hvd.local_rank())
        self._open = True
        if device == "cuda":
            import torch

            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())

    def all_reduce(self, tensor: torch.Tensor) -> None:
        # One name for each kind of tensor: Horovod caches its negotiation by name, shape and dtype.
        self._hvd.allreduce_(tensor, name=f"sum.{_kind(tensor)}", op=self._hvd.Sum)

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> None:
        self._hvd.broadcast_(tensor, root, name=f"broadcast.{root}.{_kind(tensor)}")

    def barrier(self) -> None:
        self._hvd.barrier()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._hvd.shutdown()


def _kind(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype}.{'x'.join(str(n) for n in tensor.shape)}"
