"""What a rank may use of its host: GPUs, threads, and the environment that says so."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparkdl.cluster.task.topology import Topology
from sparkdl.comm.installed import torch_has_gpus
from sparkdl.comm.registry import Meeting, spec_of
from sparkdl.errors import ClusterError

# They open Spark's own sockets; the user's code has no business with them.
_SPARKS_OWN = frozenset(
    {"PYTHON_WORKER_FACTORY_SECRET", "PYTHON_WORKER_FACTORY_SOCK_DIR", "PYTHON_WORKER_FACTORY_PORT"}
)


def visible_gpus(env: Mapping[str, str], devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the GPUs of this host that `env` lets a process see, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in env:
        named = [name.strip() for name in env["CUDA_VISIBLE_DEVICES"].split(",")]
        return tuple(name for name in named if name and name != "-1")
    numbers = (re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*"))
    return tuple(str(number) for number in sorted(int(match[1]) for match in numbers if match))


def usable_gpus(env: Mapping[str, str], devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the visible GPUs that this Python's torch can compute on: none where it is built for CPUs."""
    return visible_gpus(env, devices) if torch_has_gpus() else ()


def gpus_of_rank(
    device: str, of_task: Sequence[str], visible: Sequence[str] | None, topology: Topology
) -> tuple[str, ...]:
    """Return the GPUs of one rank; none means that it computes on the CPU.

    Parameters
    ----------
    device : str
        "auto", "cpu" or "cuda".
    of_task : sequence of str
        What Spark has given to this task.
    visible : sequence of str or None
        On a local master, where Spark gives out no GPUs: those that the host shows, shared out by local rank.
        None elsewhere.
    place : Topology

    Raises
    ------
    ClusterError
        If `device` is "cuda" and there is no GPU for this rank.
    """
    if device == "cpu":
        return ()
    if of_task:
        return tuple(of_task)
    if visible is not None and len(visible) >= topology.local_size:
        return tuple(visible[topology.local_rank :: topology.local_size][:1])
    if device == "cuda":
        found = f"{len(visible)} visible GPUs for {topology.local_size} ranks" if visible is not None else "no GPU"
        raise ClusterError(
            f"device='cuda', but rank {topology.rank} on host {topology.host} has {found}: lower the number of ranks, "
            "give the tasks GPUs (spark.task.resource.gpu.amount) or use device='auto'"
        )
    return ()


def base_environment(
    inherited: Mapping[str, str], extra: Mapping[str, str], threads: int, gpus: Sequence[str]
) -> dict[str, str]:
    """Return the environment that a rank has from its first instruction on; `extra`, the user's, wins."""
    env = {name: value for name, value in inherited.items() if name not in _SPARKS_OWN}
    env["OMP_NUM_THREADS"] = str(threads)
    env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    env["PYTHONUNBUFFERED"] = "1"
    env.update(extra)
    return env


def rendezvous_environment(topology: Topology, backend: str, meeting: Meeting | None) -> dict[str, str]:
    """Return what tells the rank where it stands and where to meet the others.

    Parameters
    ----------
    topology : Topology
    backend : str
    meeting : Meeting or None
        None: there is nobody to meet.
    """
    env = {
        "RANK": str(topology.rank),
        "WORLD_SIZE": str(topology.size),
        "LOCAL_RANK": str(topology.local_rank),
        "LOCAL_WORLD_SIZE": str(topology.local_size),
    }
    if meeting is not None:
        env |= spec_of(backend).environment(topology, meeting)
    return env


def inherited_environment() -> dict[str, str]:
    """Return a copy of this process's environment, which is itself never changed."""
    return dict(os.environ)
