"""The backends by name: what each asks of driver, task and rank. Nothing else compares the name of a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sparkdl.comm.installed import BUILD, Problem, horovod_problem
from sparkdl.errors import SettingError, invalid, one_of

if TYPE_CHECKING:
    from sparkdl.comm.backend import Backend

AUTO = "auto"
"""Leaves the choice to the driver, which makes it once (`preflight.backend`); no rank ever sees it."""

HOROVOD_SERVER, RESERVED_PORT = "horovod_server", "reserved_port"
"""How ranks find each other: by a server in the task of rank 0, or at a port that this task keeps for its rank."""


class Standing(Protocol):
    """Where a rank stands among all ranks and those of its host, as `cluster.task.topology.Topology` says it."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def local_rank(self) -> int: ...
    @property
    def local_size(self) -> int: ...
    @property
    def cross_rank(self) -> int: ...
    @property
    def cross_size(self) -> int: ...
    @property
    def host(self) -> str: ...


@dataclass(frozen=True)
class Meeting:
    """What a rank needs to know to meet the others.

    Attributes
    ----------
    address : tuple of (str, int)
        Of what `BackendSpec.rendezvous` has opened.
    interface : str or None
        Network interface that leads to the other ranks, where it can be told.
    timeout : float
        Seconds that the ranks may take to meet.
    secret : str
        Opens a HOROVOD_SERVER.
    """

    address: tuple[str, int]
    interface: str | None
    timeout: float
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class BackendSpec:
    """All that launcher, tasks and ranks know of one backend.

    Attributes
    ----------
    name : str
        A value of the Param `backend`.
    title : str
        What users know it by.
    open : callable of (timeout, device, step_seconds) -> Backend
        Joins the group, on a rank; arguments as those of `comm.open_backend`.
    max_ranks : int or None
        How many ranks it can connect, where that is limited.
    packages : mapping of str to str
        What the ranks' Python needs for it beside torch, in the driver's version, and what to do where it is missing.
    preload : tuple of str
        Modules that a rank imports, after torch, before it meets the others.
    problem : callable of (gpus) -> Problem or None
        Why this Python cannot use it for ranks with or without GPUs.
    rendezvous : str or None
        HOROVOD_SERVER or RESERVED_PORT, opened by the task of rank 0 (`cluster.rendezvous`).
    environment : callable of (Standing, Meeting) -> dict
        Variables that tell the rank where the others are.
    loop_environment : mapping of str to str
        Variables for a training loop of the user's own, each only where it is not set.
    secondary_errors, secondary_phrases : tuple of str
        Names of exceptions, and words of RuntimeErrors, that only say that another rank has failed.
    aborts : bool
        Whether it ends its process by SIGABRT when it loses the others.
    """

    name: str
    title: str
    open: Callable[[float, str, float | None], Backend]
    max_ranks: int | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    problem: Callable[[bool], Problem | None] = lambda gpus: None
    rendezvous: str | None = None
    environment: Callable[[Standing, Meeting], dict[str, str]] = lambda standing, meeting: {}
    loop_environment: Mapping[str, str] = field(default_factory=dict)
    secondary_errors: tuple[str, ...] = ()
    secondary_phrases: tuple[str, ...] = ()
    aborts: bool = False


def _open_horovod(timeout: float, device: str, step_seconds: float | None) -> Backend:
    from sparkdl.comm.horovod import HorovodBackend

    return HorovodBackend(timeout=timeout, device=device, step_seconds=step_seconds)


def _open_torch(timeout: float, device: str, step_seconds: float | None) -> Backend:
    from sparkdl.comm.torch_distributed import TorchBackend

    return TorchBackend(timeout=timeout, device=device)


def _open_local(timeout: float, device: str, step_seconds: float | None) -> Backend:
    from sparkdl.comm.solo import SoloBackend

    return SoloBackend()


def _horovod_environment(standing: Standing, meeting: Meeting) -> dict[str, str]:
    host, port = meeting.address
    env = {
        "HOROVOD_HOSTNAME": standing.host,
        "HOROVOD_RANK": str(standing.rank),
        "HOROVOD_SIZE": str(standing.size),
        "HOROVOD_LOCAL_RANK": str(standing.local_rank),
        "HOROVOD_LOCAL_SIZE": str(standing.local_size),
        "HOROVOD_CROSS_RANK": str(standing.cross_rank),
        "HOROVOD_CROSS_SIZE": str(standing.cross_size),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        # Horovod asks for http://ADDR:PORT/scope/key: what follows a slash in ADDR becomes the beginning of the path.
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": f"{host}:{port}/{meeting.secret}",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(max(1, int(meeting.timeout))),
    }
    return env | ({"HOROVOD_GLOO_IFACE": meeting.interface} if meeting.interface else {})


def _torch_environment(standing: Standing, meeting: Meeting) -> dict[str, str]:
    env = {"MASTER_ADDR": meeting.address[0], "MASTER_PORT": str(meeting.address[1])}
    return env | ({"GLOO_SOCKET_IFNAME": meeting.interface} if meeting.interface else {})


_GLOO = (
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo/transport",
    "gloo/rendezvous",
    "Gloo connectFullMesh failed",
)
_NCCL = ("ncclRemoteError", "remote process exited")

HOROVOD = BackendSpec(
    name="horovod",
    title="Horovod",
    open=_open_horovod,
    packages={"horovod": f"run {BUILD} there or bring the driver's wheel (docs/executors.md), or set backend='torch'"},
    preload=("horovod.torch",),
    problem=horovod_problem,
    rendezvous=HOROVOD_SERVER,
    environment=_horovod_environment,
    # At Horovod's own default of 1 ms a small all-reduce waits for the next cycle; at 0.1 ms the cycles
    # themselves, which talk to the other ranks each time, take the core from the training. A fit knows better.
    loop_environment={"HOROVOD_CYCLE_TIME": "0.3"},
    secondary_errors=("HorovodInternalError", "HostsUpdatedInterrupt"),
    secondary_phrases=(*_GLOO, *_NCCL, "Horovod has been shut down"),
    aborts=True,
)
TORCH = BackendSpec(
    name="torch",
    title="torch.distributed",
    open=_open_torch,
    rendezvous=RESERVED_PORT,
    environment=_torch_environment,
    secondary_errors=("DistNetworkError", "DistBackendError"),
    secondary_phrases=(*_GLOO, *_NCCL),
)
LOCAL = BackendSpec(name="local", title="one rank alone", open=_open_local, max_ranks=1)

BACKENDS = {spec.name: spec for spec in (HOROVOD, TORCH, LOCAL)}
"""In the order in which "auto" tries them."""


def spec_of(name: str) -> BackendSpec:
    """Return the backend of that name; SettingError names those that there are."""
    if name not in BACKENDS:
        raise SettingError(invalid("backend", name, one_of(BACKENDS)))
    return BACKENDS[name]


def backends_for(num_procs: int) -> list[str]:
    """Return what `backend` may be for so many ranks: "auto" first, then names in the order in which it tries them."""
    return [AUTO, *(name for name, spec in BACKENDS.items() if num_procs <= (spec.max_ranks or num_procs))]


def spec_for(name: str, num_procs: int) -> BackendSpec:
    """Return the backend of that name, and for a single rank the one that needs nothing."""
    wanted = spec_of(name)
    return LOCAL if num_procs == 1 else wanted
