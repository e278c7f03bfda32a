"""Ranks of one host talk through shared memory; one of each host goes on by Horovod or torch.distributed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from sparkdl.comm.backend import Backend
from sparkdl.comm.segment import SEGMENT, has_room, remove
from sparkdl.comm.shared_memory import SEGMENT_BYTES, SharedMemory

_log = logging.getLogger(__name__)


class HostBackend(Backend):
    """A group whose collectives take place in memory as far as ranks share a host.

    Sums are added in the order of the ranks, so they are the same on all of them, bit for bit.

    Parameters
    ----------
    inner : Backend
        Of all ranks. It stays open where they share one host, too: callbacks of the user may talk by it.
    memory : SharedMemory or None
        Of this host; None where it has no other rank.
    hosts : list of list of int
        The ranks of each host, in their order; the first of each is its leader.
    """

    def __init__(self, inner: Backend, memory: SharedMemory | None, hosts: list[list[int]]) -> None:
        self.name, self.rank, self.size, self.local_rank = inner.name, inner.rank, inner.size, inner.local_rank
        self._inner, self._memory = inner, memory
        self._hosts = {rank: host for host in hosts for rank in host}
        self._here = self._hosts[self.rank]
        self._leaders: Backend | None = None
        if len(hosts) > 1:
            # All take part in making it, the leaders alone use it.
            self._leaders = inner.subgroup([host[0] for host in hosts])
        self._leads = self._leaders is not None and self.rank == self._here[0]

    def all_reduce(self, tensor: torch.Tensor) -> None:
        if self._memory is not None:
            self._memory.sum(tensor.view(-1).numpy())
        if self._leads and self._leaders is not None:
            self._leaders.all_reduce(tensor)
        if self._leaders is not None and self._memory is not None:
            self._memory.broadcast(_bytes(tensor), 0)

    def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
        home = self._hosts[root]
        if self._memory is not None and home is self._here:
            self._memory.broadcast(data.numpy(), home.index(root))
        if self._leads and self._leaders is not None:
            self._leaders.broadcast_bytes(data, home[0])
        if self._memory is not None and home is not self._here:
            self._memory.broadcast(data.numpy(), 0)

    def barrier(self) -> None:
        if self._memory is not None:
            self._memory.meet()
        if self._leads and self._leaders is not None:
            self._leaders.barrier()
        if self._leaders is not None and self._memory is not None:
            self._memory.meet()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        if self._memory is not None:
            self._memory.fail()
        self._inner.abort()


def may_rest(device: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether all ranks share this host and its memory, so that a backend is used at the start and the end only.

    Parameters
    ----------
    device : str
        "cpu", or they do not share.
    environment : mapping
        As for `sharing_host`, with WORLD_SIZE.
    """
    here, everywhere = environment.get("LOCAL_WORLD_SIZE"), environment.get("WORLD_SIZE")
    return device == "cpu" and SEGMENT in environment and here == everywhere and has_room(SEGMENT_BYTES)


def sharing_host(inner: Backend, device: str, timeout: float, environment: Mapping[str, str] = os.environ) -> Backend:
    """Return a backend that uses memory where ranks share a host; `inner` itself where some of them cannot.

    Collective. The ranks agree, so that none waits in memory for one that waits in the network.

    Parameters
    ----------
    inner : Backend
        Of all ranks.
    device : str
        "cpu", or this rank does not share.
    timeout : float
        Seconds for which a rank waits for the others of its host.
    environment : mapping
        With SPARKDL_SEGMENT (`inner` is returned without it) and LOCAL_WORLD_SIZE.
    """
    name = environment.get(SEGMENT)
    if inner.size == 1 or name is None:
        return inner
    local_size = int(environment["LOCAL_WORLD_SIZE"])
    alone, elsewhere = _count(inner, local_size == 1, device != "cpu")
    if elsewhere or alone == inner.size:
        return inner
    memory, problem = None, None
    try:
        # The leader makes what the others open, so they come after it.
        for leader in (True, False):
            if local_size > 1 and leader == (inner.local_rank == 0):
                try:
                    memory = SharedMemory(name, inner.local_rank, local_size, timeout)
                except OSError as error:
                    problem = error
                    _log.warning("the ranks of this host cannot share memory and use the network: %s", error)
            if _count(inner, problem is not None)[0]:
                return inner
    finally:
        remove(name)
    return HostBackend(inner, memory, _hosts(inner))


def _count(inner: Backend, *mine: bool) -> list[int]:
    """Return for each statement of how many ranks it is true."""
    votes = torch.tensor(mine, dtype=torch.int64)
    inner.all_reduce(votes)
    counts: list[int] = votes.tolist()
    return counts


def _hosts(inner: Backend) -> list[list[int]]:
    """Return the ranks of each host: neighbours, of which the first has the local rank 0."""
    local_ranks = torch.zeros(inner.size, dtype=torch.int64)
    local_ranks[inner.rank] = inner.local_rank
    inner.all_reduce(local_ranks)
    hosts: list[list[int]] = []
    for rank, local_rank in enumerate(local_ranks.tolist()):
        if local_rank == 0:
            hosts.append([])
        hosts[-1].append(rank)
    return hosts


def _bytes(tensor: torch.Tensor) -> npt.NDArray[np.uint8]:
    found: npt.NDArray[np.uint8] = tensor.view(-1).view(torch.uint8).numpy()
    return found
