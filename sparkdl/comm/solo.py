"""One rank by itself: every collective is already done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkdl.comm.backend import Backend

if TYPE_CHECKING:
    import torch


class SoloBackend(Backend):
    """A group of one rank; needs neither Horovod nor torch.distributed."""

    def __init__(self) -> None:
        self.name = "local"
        self.rank, self.size, self.local_rank = 0, 1, 0

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Leave the tensor as it is: it is the sum over one rank."""

    def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
        """Leave the bytes as they are."""

    def barrier(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Release nothing."""
