"""Ranks that talk through torch.distributed: Gloo on the CPU, NCCL on GPUs."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from sparkdl.comm.backend import Backend


class TorchBackend(Backend):
    """A group described by MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and LOCAL_RANK.

    Parameters
    ----------
    timeout : float
        Seconds for the meeting of the ranks and for each collective.
    device : str
        "cpu" takes Gloo; "cuda" takes NCCL and this rank's GPU as the current one.
    """

    def __init__(self, *, timeout: float = 300.0, device: str = "cpu") -> None:
        self.name = "torch"
        self._cuda = device == "cuda"
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if self._cuda:
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        dist.init_process_group(
            "nccl" if self._cuda else "gloo", init_method="env://", timeout=timedelta(seconds=timeout)
        )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def all_reduce(self, tensor: torch.Tensor) -> None:
        placed = self._placed(tensor)
        dist.all_reduce(placed)
        if placed is not tensor:
            tensor.copy_(placed)

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> None:
        placed = self._placed(tensor)
        dist.broadcast(placed, root)
        if placed is not tensor:
            tensor.copy_(placed)

    def barrier(self) -> None:
        dist.barrier()

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor where the transport can reach it: NCCL knows no CPU tensors."""
        return tensor.cuda() if self._cuda and not tensor.is_cuda else tensor
