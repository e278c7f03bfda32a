"""What crosses from the driver to the tasks and back: a `Job` in, an `Outcome` out.

Both are versioned: one line of JSON with plain fields, then one blob. The blob is made by cloudpickle on the driver
(the user's objects) or by the rank (its value); nobody unpacks it before the plain fields have been compared.
This module needs only the standard library, so that a task without torch can still answer in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from sparkdl.errors import SparkDLError

FORMAT_VERSION = 1

OK = "ok"
USER_ERROR = "user_error"
RANK_LOST = "rank_lost"
TIMED_OUT = "timed_out"
ENVIRONMENT = "environment"
"""Kinds of outcome. ENVIRONMENT: this executor cannot run a rank at all (another Python, no torch)."""


@dataclass(frozen=True)
class Job:
    """Everything a barrier task needs to run one rank.

    Attributes
    ----------
    function : str
        Importable name, "module:function", called on each rank as ``function(context, **kwargs)``.
    num_procs : int
        World size.
    backend : str
        Name of a `comm.registry.BackendSpec`.
    versions : mapping of str to str
        Python (major.minor), sparkdl, torch, horovod and pyarrow as the driver has them; those that are missing
        on the driver are absent. The tasks compare before they unpack the blob.
    secret : str
        Random, hexadecimal; opens the coordinator of this job only.
    packages : mapping of str to str
        What the backend needs of each task's Python besides, and what to do where it is missing.
    env : mapping of str to str
        Added to the environment of each rank.
    sys_path : tuple of str
        Put in front of the rank's sys.path, where the folders exist.
    device : str
        "auto", "cpu" or "cuda": which device the ranks may use. GPUs come from the task's resources.
    local_master : bool
        The master is `local[...]`: tasks share the driver's host and may use its visible GPUs.
    start_timeout, heartbeat_timeout : float
        Seconds.
    verbosity : str
        "all": every line that a rank writes is relayed; "log_callback_only": only log_to_driver speaks.
    driver : tuple of (str, int) or None
        Where the driver listens for events; None where it cannot be reached.
    max_result_bytes : int
        Results above this size are refused by the task with a sentence.
    warm : bool
        Whether ranks may be forked from a prefork server that has imported torch already.
    ingest : mapping or None
        "function" and "arguments" of what ingests the rows that the tasks get before their ranks start.
    result_folder : bytes
        cloudpickle of the `ResultFolder` for what is larger than `max_result_bytes`; empty where there is none.
    blob : bytes
        cloudpickle of the dict of keyword arguments.
    """

    function: str
    num_procs: int
    backend: str
    versions: Mapping[str, str]
    secret: str = field(repr=False)
    packages: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    sys_path: tuple[str, ...] = ()
    device: str = "auto"
    local_master: bool = False
    start_timeout: float = 300.0
    heartbeat_timeout: float = 600.0
    verbosity: str = "log_callback_only"
    driver: tuple[str, int] | None = None
    max_result_bytes: int = 1 << 29
    prefork: bool = True
    ingest: Mapping[str, Any] | None = None
    result_folder: bytes = field(default=b"", repr=False)
    blob: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """Return the job as bytes: a line of JSON, then the blob."""
        return _pack(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Job:
        """Return the job that `to_bytes` has written; SparkDLError names the versions if they differ."""
        plain = _unpack(cls, data, "job")
        plain["sys_path"] = tuple(plain["sys_path"])
        plain["driver"] = None if plain["driver"] is None else (plain["driver"][0], plain["driver"][1])
        return cls(**plain)


@dataclass(frozen=True)
class Outcome:
    """What one barrier task says of its rank. A task never raises for what its rank did.

    Attributes
    ----------
    kind : str
        OK, USER_ERROR, RANK_LOST, TIMED_OUT or ENVIRONMENT.
    rank : int
    host : str
    message : str
        One sentence; for USER_ERROR, "ValueError: what it said".
    traceback : str
        As Python printed it on the rank.
    order : int
        In which order failures arrived at the coordinator, 0 is the first; -1 where nothing failed.
    secondary : bool
        Whether the failure follows from that of another rank (HorovodInternalError, lost peers, our own kills).
    log_tail : str
        The last lines that the rank wrote.
    events : tuple of dict
        Events that have not reached the driver while the ranks ran (`report.listener.from_record` reads them).
    seconds : mapping of str to float
        Time of the phases on this rank: "start", "run"; "spool" where its task took in rows.
    blob : bytes
        Rank 0: the value, by cloudpickle. USER_ERROR: the exception by cloudpickle, empty if it cannot be pickled.
    """

    kind: str
    rank: int
    host: str = ""
    message: str = ""
    traceback: str = ""
    order: int = -1
    secondary: bool = False
    log_tail: str = ""
    events: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    blob: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the outcome as bytes: a line of JSON, then the blob."""
        return _pack(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Outcome:
        """Return the outcome that `to_bytes` has written."""
        plain = _unpack(cls, data, "outcome")
        plain["events"] = tuple(plain.get("events", ()))
        return cls(**plain)


class SpoolSource(Protocol):
    """Bytes that one task of the job has ingested; every rank may read them, from several threads."""

    @property
    def host(self) -> str:
        """Where they are."""

    @property
    def index(self) -> Any:
        """What the function that took them in has returned."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes; OSError if their task does not give them in time."""


@dataclass(frozen=True)
class RankContext:
    """What the function of a job is told about its rank.

    Attributes
    ----------
    rank, size, local_rank, local_size : int
        Place among all ranks, and among those of this host.
    backend : str
        Name of what `sparkdl.comm.open_backend` opens.
    device : str
        "cpu" or "cuda" (its own device is then cuda:0: no other is visible).
    threads : int
        Threads that torch may use: the CPUs of the task.
    emit : callable of (dict) -> None
        Sends an event record to the driver; never blocks for long, never raises.
    host : str
    start_timeout : float
        Seconds that the ranks may take to meet.
    heartbeat_timeout : float
        Seconds for which a rank waits for another one while they work.
    spool_sources : tuple of SpoolSource
        Of each task, in their order; empty where the job ingests no rows.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    backend: str
    device: str
    threads: int
    emit: Callable[[Mapping[str, Any]], None]
    host: str = ""
    start_timeout: float = 300.0
    heartbeat_timeout: float = 600.0
    spool_sources: tuple[SpoolSource, ...] = ()


def _pack(message: Job | Outcome) -> bytes:
    plain = asdict(message)
    blobs = [plain[each.name] for each in fields(message) if each.type == "bytes"]
    header = {name: len(value) if isinstance(value, bytes) else value for name, value in plain.items()}
    return b"".join([json.dumps({"formatVersion": FORMAT_VERSION, **header}).encode(), b"\n", *blobs])


def _unpack(kind: type[Job | Outcome], data: bytes, what: str) -> dict[str, Any]:
    line, _, blobs = data.partition(b"\n")
    plain: dict[str, Any] = json.loads(line)
    version = plain.pop("formatVersion", None)
    if version != FORMAT_VERSION:
        raise SparkDLError(
            f"this {what} has format version {version}, this sparkdl reads {FORMAT_VERSION}: "
            "install the same sparkdl on the driver and on the executors"
        )
    start = 0
    for each in fields(kind):
        if each.type == "bytes":
            # The bootstrap of a task that has no sparkdl writes plain fields only.
            end = start + int(plain.get(each.name, 0))
            plain[each.name], start = blobs[start:end], end
    return plain
