"""Every message that driver, tasks, coordinator, prefork server and ranks say to each other, and its form on the wire.

A message is a frozen dataclass of plain JSON values; its fields of bytes travel beside the JSON, without a copy into
it. The name of the class is the type on the wire: only classes of this file can come out of `decode`. Standard library
only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

_TYPE = "message"


class MessageError(ConnectionError):
    """What came over a connection is none of these messages."""


@dataclass(frozen=True)
class Message:
    """Base of all messages."""


# A task to its rank.


@dataclass(frozen=True)
class PrepareRank(Message):
    """The first message to a rank: what it is to be, and what to import.

    Attributes
    ----------
    env : mapping of str to str
        Its whole environment.
    path : sequence of str
        Its sys.path.
    folder : str
        Its working folder.
    threads : int
        CPUs of the task.
    heartbeat_seconds : float
        Between two heartbeats.
    preload : sequence of str
        Modules to import before it is ready.
    inherited : mapping
        What a fork has not from its task, as `rank.inherited.settable` returns it.
    """

    env: Mapping[str, str] = field(repr=False)
    path: Sequence[str]
    folder: str
    threads: int
    heartbeat_seconds: float
    preload: Sequence[str] = ()
    inherited: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFunction(Message):
    """The second one: call the function of the job.

    Attributes
    ----------
    function : str
        "module:function".
    env : mapping of str to str
        Added to its environment.
    context : mapping
        Fields of `RankContext`.
    max_result_bytes : int
    spool_secret : str
        Opens the spool files; empty where the job ingests no rows.
    spool_sources : sequence of mapping
        Offers of the tasks, in their order.
    result_folder : bytes
        cloudpickle of the `ResultFolder`; empty where there is none.
    arguments : bytes
        cloudpickle of the keyword arguments.
    """

    function: str
    env: Mapping[str, str] = field(repr=False)
    context: Mapping[str, Any]
    max_result_bytes: int
    spool_secret: str = field(default="", repr=False)
    spool_sources: Sequence[Mapping[str, Any]] = ()
    result_folder: bytes = field(default=b"", repr=False)
    arguments: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Abort(Message):
    """Another rank has failed: end. From the coordinator to the tasks, and from a task to its rank."""

    reason: str = ""


# A rank, or its watchdog, to its task.


@dataclass(frozen=True)
class Ready(Message):
    """It has imported what it needs. Also from the task to the coordinator."""


@dataclass(frozen=True)
class Heartbeat(Message):
    """The sender lives; between all of them."""


@dataclass(frozen=True)
class Interrupted(Message):
    """The main thread of the rank has heard of the abort."""


@dataclass(frozen=True)
class EventRecord(Message):
    """An event of the fit, as `to_record` makes it; also from a task to the coordinator and the driver."""

    record: Mapping[str, Any]


@dataclass(frozen=True)
class Returned(Message):
    """The function has returned; `value` by cloudpickle, on rank 0 only."""

    value: bytes = b""


@dataclass(frozen=True)
class Raised(Message):
    """The function has raised; `error` by cloudpickle where it can be pickled."""

    sentence: str
    traceback: str
    secondary: bool
    error: bytes = b""


@dataclass(frozen=True)
class Left(Message):
    """The function has called `sys.exit`."""

    sentence: str
    secondary: bool


@dataclass(frozen=True)
class ProcessEnded(Message):
    """The watchdog: the rank's process is gone, with this exit code (below 0: a signal)."""

    status: int


# A task to the coordinator, and back.


@dataclass(frozen=True)
class JoinControl(Message):
    """Opens the connection of a rank's supervisor."""

    rank: int


@dataclass(frozen=True)
class JoinOutput(Message):
    """Opens a connection for events, to the coordinator or to the driver."""

    rank: int


@dataclass(frozen=True)
class Go(Message):
    """All ranks are ready."""


@dataclass(frozen=True)
class Failed(Message):
    """A rank has failed; `sentence` names it."""

    secondary: bool
    sentence: str


@dataclass(frozen=True)
class FailureOrder(Message):
    """The answer: how many failures came before, and whether this one follows from another."""

    order: int
    secondary: bool


@dataclass(frozen=True)
class Done(Message):
    """A rank has ended well."""


# Tasks that meet.


@dataclass(frozen=True)
class Meet(Message):
    """A task brings its text to the meeting of that number, on the driver."""

    task: int
    text: str
    number: int = 0


@dataclass(frozen=True)
class Met(Message):
    """All have come: their texts, in the order of the tasks."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Offer(Message):
    """What a task tells the others before its rank starts.

    Attributes
    ----------
    problem : str
        Why it cannot run a rank; empty if it can. The bootstrap, which has no sparkdl to import, writes this field by
        itself.
    coordinator, rendezvous : int or None
        Ports that task 0 listens on.
    spool_source : mapping or None
        What the other tasks' ranks need to read the rows that this one has ingested.
    """

    problem: str = ""
    coordinator: int | None = None
    rendezvous: int | None = None
    spool_source: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class IngestProgress(Message):
    """How far a task is with its rows."""

    batches: int
    done: bool
    problem: str = ""


# A rank to another task, for rows that lie there.


@dataclass(frozen=True)
class ReadSpool(Message):
    """Asks for bytes of a spool file."""

    offset: int
    size: int


@dataclass(frozen=True)
class SpoolBytes(Message):
    """The answer; not `found`: the file has not so many bytes."""

    found: bool
    data: bytes = b""


# To the prefork server.


@dataclass(frozen=True)
class Prewarm(Message):
    """Import what functions of this module need."""

    module: str


@dataclass(frozen=True)
class ForkRank(Message):
    """Fork a rank whose function is in this module, and with this sys.path; its four descriptors come along."""

    module: str
    folder: str
    path: Sequence[str] = ()


_CLASSES: dict[str, type[Message]] = {kind.__name__: kind for kind in Message.__subclasses__()}
_PLAIN: Mapping[str, tuple[type, ...]] = {
    "bytes": (bytes,),
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "Mapping": (dict,),
    "Sequence": (list,),
    "None": (type(None),),
}
"""What the fields' types are in JSON."""


def encode(message: Message) -> tuple[bytes, bytes]:
    """Return the JSON of a message, and its fields of bytes one after the other."""
    plain: dict[str, Any] = {_TYPE: type(message).__name__}
    blobs: list[bytes] = []
    for each in fields(message):
        value = getattr(message, each.name)
        if isinstance(value, bytes):
            blobs.append(value)
            value = len(value)
        plain[each.name] = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(plain).encode(), blobs[0] if len(blobs) == 1 else b"".join(blobs)


def decode(header: bytes, blob: bytes = b"") -> Message:
    """Return the message that `encode` has made.

    Raises
    ------
    MessageError
        If it is none.
    """
    try:
        plain = json.loads(header)
        kind = _CLASSES[plain.pop(_TYPE)]
        start = 0
        for each in fields(kind):
            if each.type == "bytes":
                size = plain.get(each.name, 0)
                if type(size) is not int or size < 0:
                    raise ValueError(f"{size!r:.100} is no number of bytes of {each.name}")
                end = start + size
                plain[each.name], start = blob[start:end] if (start, end) != (0, len(blob)) else blob, end
            elif each.name in plain and not _fits(plain[each.name], str(each.type)):
                raise ValueError(f"{each.name}={plain[each.name]!r:.100} is no {each.type}")
        if start != len(blob):
            raise ValueError(f"{len(blob):,} bytes came along, {start:,} were announced")
        return kind(**plain)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MessageError(f"this is no message between ranks, tasks and driver ({error!r:.500})") from error


def _fits(value: Any, wanted: str) -> bool:
    kinds = [kind for part in wanted.split("|") for kind in _PLAIN[part.partition("[")[0].strip()]]
    return isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool))


def to_text(message: Message) -> str:
    """Return a message without bytes as a line of JSON."""
    return encode(message)[0].decode()


def from_text(text: str) -> Message:
    """Return the message that `to_text` has written; `MessageError` if it is none."""
    return decode(text.encode())
