"""Ranks that talk through Horovod: the only file that imports it for training."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sparkdl.comm.backend import Backend

if TYPE_CHECKING:
    import torch

_CYCLE_COST_MS = 0.3
"""CPU time that a cycle of Horovod's background thread takes of a rank, with the messages that it sends."""
_CYCLES_LATE = 3.0
"""How many cycles later than its last rank a collective is done."""
_CYCLES_MS = (0.3, 10.0)

_PAUSES = (20e-6, 100e-6, 500e-6)
"""Seconds between two looks at a collective: the first, and the bounds of the longest."""


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
    step_seconds : float, optional
        How long a rank computes between two collectives, roughly: sets the cycle time of Horovod's
        background thread, where HOROVOD_CYCLE_TIME is not set.
    """

    def __init__(self, *, timeout: float = 300.0, device: str = "cpu", step_seconds: float | None = None) -> None:
        # Horovod reads these in init(). A stall ends the group some time after Horovod's own warning, which
        # has to come first.
        seconds = max(1, int(timeout))
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(seconds))
        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", str(seconds))
        os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", str(max(1, min(60, seconds // 2))))
        # Without it no group of some ranks can be made later.
        os.environ.setdefault("HOROVOD_DYNAMIC_PROCESS_SETS", "1")
        self._longest_pause = _PAUSES[1]
        if step_seconds is not None:
            cycle = os.environ.setdefault("HOROVOD_CYCLE_TIME", f"{cycle_milliseconds(step_seconds):.2f}")
            self._longest_pause = min(_PAUSES[2], max(_PAUSES[1], float(cycle) / 5000))
        import horovod.torch as hvd

        self._hvd = hvd
        hvd.init()
        self._set = hvd.global_process_set
        self.name = "horovod"
        self.rank, self.size, self.local_rank = int(hvd.rank()), int(hvd.size()), int(hvd.local_rank())
        self._open = True
        if device == "cuda":
            import torch

            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())

    def all_reduce(self, tensor: torch.Tensor) -> None:
        # One name for each kind of tensor: Horovod caches its negotiation by name, shape and dtype.
        self._wait(self._start(tensor, f"sum.{_kind(tensor)}"))

    def start_all_reduce(self, tensor: torch.Tensor) -> Callable[[], None]:
        # Parts of one buffer that are on their way together need names of their own.
        handle = self._start(tensor, f"part.{_kind(tensor)}.{tensor.storage_offset()}")
        return lambda: self._wait(handle)

    def _start(self, tensor: torch.Tensor, name: str) -> int:
        handle: int = self._hvd.allreduce_async_(tensor, name=name, op=self._hvd.Sum, process_set=self._set)
        return handle

    def _wait(self, handle: int) -> None:
        # Horovod's own wait never lets go of the core, for which its background thread, which is to do the work, and
        # the ranks that are late have to fight then.
        pause = _PAUSES[0]
        while not self._hvd.poll(handle):
            time.sleep(pause)
            pause = min(2 * pause, self._longest_pause)
        self._hvd.synchronize(handle)

    def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
        self._hvd.broadcast_(data, root, name=f"broadcast.{root}.{_kind(data)}", process_set=self._set)

    def barrier(self) -> None:
        self._hvd.barrier(process_set=self._set)

    def subgroup(self, ranks: Sequence[int]) -> HorovodBackend:
        some = copy.copy(self)
        some._set = self._hvd.add_process_set(list(ranks))
        return some

    def close(self) -> None:
        if self._open:
            self._open = False
            self._hvd.shutdown()


def cycle_milliseconds(step_seconds: float) -> float:
    """Return the cycle time that costs a step least.

    In each cycle the background threads of all ranks talk to each other, whether there is something to do or not: short
    cycles take the core from the computing, and long ones make a collective late. The sum of both,
    cost x step / cycle + late x cycle, is least at the root of cost x step / late.
    """
    shortest, longest = _CYCLES_MS
    return min(longest, max(shortest, math.sqrt(_CYCLE_COST_MS * step_seconds * 1000 / _CYCLES_LATE)))


def _kind(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype}.{'x'.join(str(n) for n in tensor.shape)}"
