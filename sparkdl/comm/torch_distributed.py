"""Ranks that talk through torch.distributed: Gloo on the CPU, NCCL on GPUs."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

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
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        limit = timedelta(seconds=timeout)
        dist.init_process_group(
            "nccl" if self._cuda else "gloo",
            store=_open_store(self.rank, self.size, limit),
            rank=self.rank,
            world_size=self.size,
            timeout=limit,
        )
        self._group: dist.ProcessGroup | None = None

    def all_reduce(self, tensor: torch.Tensor) -> None:
        placed = self._placed(tensor)
        dist.all_reduce(placed, group=self._group)
        if placed is not tensor:
            tensor.copy_(placed)

    def start_all_reduce(self, tensor: torch.Tensor) -> Callable[[], None]:
        work = dist.all_reduce(tensor, group=self._group, async_op=True)

        def wait() -> None:
            work.wait()

        return wait

    def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
        placed = self._placed(data)
        dist.broadcast(placed, root, group=self._group)
        if placed is not data:
            data.copy_(placed)

    def barrier(self) -> None:
        dist.barrier(group=self._group)

    def subgroup(self, ranks: Sequence[int]) -> TorchBackend:
        some = copy.copy(self)
        some._group = dist.new_group(list(ranks))
        return some

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor where the transport can reach it: NCCL knows no CPU tensors."""
        return tensor.cuda() if self._cuda and not tensor.is_cuda else tensor


def _open_store(rank: int, size: int, timeout: timedelta) -> Any:
    """Return the store at which the ranks meet; rank 0 has it.

    It asks nobody who he is, and torch's own "env://" lets it listen on all interfaces: here it does on that of
    MASTER_ADDR only.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    listening = _listen(host, port) if rank == 0 else None
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, size, rank == 0, timeout, multi_tenant=True, master_listen_fd=listening
    )


def _listen(host: str, port: int) -> int | None:
    """Return the descriptor of a socket that listens there; None where the address is not one of this machine."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            # The task of this rank keeps the port bound.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
            return listener.detach()
    except OSError:
        return None
