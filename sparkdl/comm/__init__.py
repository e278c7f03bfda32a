"""Ranks talking to each other; no Spark in here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sparkdl.comm.registry import spec_of

if TYPE_CHECKING:
    from sparkdl.comm.backend import Backend

__all__ = ["open_backend"]


def open_backend(
    name: str, *, timeout: float = 300.0, device: str = "cpu", step_seconds: float | None = None
) -> Backend:
    """Join the group of ranks that this process's environment describes.

    On the CPU, ranks that share a host talk through its memory, where SPARKDL_SEGMENT names a segment for it.

    Parameters
    ----------
    name : str
        "local" (one rank, nothing to join), "horovod" (HOROVOD_* variables of a launcher) or
        "torch" (MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE; Gloo on the CPU, NCCL on GPUs).
    timeout : float
        Seconds for which a rank waits for the others, at the start and in every collective call.
    device : str
        "cpu" or "cuda": where the gradients lie.
    step_seconds : float, optional
        How long a rank computes between two collectives, roughly, where that is known.

    Raises
    ------
    SettingError
        The name is none of the three.
    """
    from sparkdl.comm.host import may_rest, sharing_host

    if step_seconds is not None and may_rest(device):
        # Ranks that sum in memory: what the backend does in the background would only take their cores.
        step_seconds = math.inf
    return sharing_host(spec_of(name).open(timeout, device, step_seconds), device, timeout)
