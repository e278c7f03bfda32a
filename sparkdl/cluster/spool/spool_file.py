"""Bytes that one task of a job holds, and how every rank of the job reads them.

They lie in a file that has no name: nobody else can open it, and its room on the disk is free again when the last
process that has it open is gone, however it went. Ranks on the task's host open the file itself; others ask a server
in the task, which knows the ranks by a secret made from that of the job.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from sparkdl.cluster.messages import ReadSpool, SpoolBytes
from sparkdl.cluster.rpc import Channel, Server, connect, derived
from sparkdl.errors import ClusterError

SPOOL = "spool sources"
"""What the secret for ranks that read is `derived` for."""
_LARGEST = 1 << 31


class SpoolLostError(ConnectionError):
    """The task that holds bytes gives none: most often because it has ended."""


class SpoolFile:
    """The task's side.

    Parameters
    ----------
    secret : str
        Of the job.
    timeout : float
        Seconds for which the other side of a connection may take nothing.

    Raises
    ------
    ClusterError
        No file can be made.
    """

    def __init__(self, secret: str, timeout: float) -> None:
        self.folder = roomiest_folder()
        self.seconds = 0.0
        self._secret = secret
        self._timeout = timeout
        self._server: Server | None = None
        self._index: Any = None
        try:
            self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise no_room(self.folder, error) from error

    @property
    def descriptor(self) -> int:
        """Of the file."""
        return self._file.fileno()

    def offer(self, address: str, index: Any) -> dict[str, Any]:
        """Let ranks read from now on; return what they must know. `index` says what lies where, as JSON."""
        self._server = Server(address, derived(self._secret, SPOOL), self._serve)
        found = os.fstat(self.descriptor)
        return {
            "index": index,
            "port": self._server.port,
            "pid": os.getpid(),
            "descriptor": self.descriptor,
            "file": [found.st_dev, found.st_ino],
        }

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._server is not None:
            self._server.close()
        self._file.close()

    def _serve(self, channel: Channel) -> None:
        channel.limit_sending(self._timeout)
        while isinstance(asked := channel.recv(), ReadSpool):
            offset, size = int(asked.offset), int(asked.size)
            data = read_exactly(self.descriptor, offset, size) if 0 <= size < _LARGEST and offset >= 0 else None
            if not channel.try_send(SpoolBytes(data is not None, data or b"")):
                return


class RankSpoolSource:
    """A rank's side: the bytes of one task. `read` may be called from several threads.

    Parameters
    ----------
    offered : mapping
        What `SpoolFile.offer` has returned, with the host of the task and the address of its server.
    secret : str
        `derived` from that of the job.
    own_host : str
        Of this rank.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(self, offered: Mapping[str, Any], secret: str, own_host: str, timeout: float) -> None:
        self.host = str(offered["host"])
        self.index = offered["index"]
        self._address = (str(offered["address"]), int(offered["port"]))
        self._secret = secret
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[Channel] = []
        self._descriptor = _opened(offered) if own_host == self.host else None

    @property
    def local(self) -> bool:
        """Whether this process reads the file itself."""
        return self._descriptor is not None

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises
        ------
        SpoolLostError
            The task does not answer in time, is gone, or has not so many bytes.
        """
        local = self._descriptor
        data = self._ask(offset, size) if local is None else read_exactly(local, offset, size)
        if data is None:
            raise SpoolLostError(f"the task on host {self.host} has no {size:,} bytes at {offset:,}")
        return data

    def close(self) -> None:
        """Close file and connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _ask(self, offset: int, size: int) -> bytes | None:
        channel = self._connected()
        try:
            channel.send(ReadSpool(offset, size))
            answer = channel.recv()
        except OSError:
            answer = None
        if not isinstance(answer, SpoolBytes):
            channel.close()
            where = f"{self._address[0]}:{self._address[1]}"
            raise SpoolLostError(
                f"the task on host {self.host} ({where}) is gone, or gave no answer within {self._timeout:g} s"
            )
        with self._lock:
            self._idle.append(channel)
        return answer.data if answer.found else None

    def _connected(self) -> Channel:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            channel = connect(self._address, self._secret, self._timeout)
        except OSError as error:
            raise SpoolLostError(
                f"the task on host {self.host} cannot be reached at {self._address[0]}:{self._address[1]}: {error}"
            ) from error
        channel.limit_sending(self._timeout)
        channel.limit_receiving(self._timeout)
        return channel


def read_exactly(descriptor: int, offset: int, size: int) -> bytes | None:
    """Return bytes of a file, None where it has not so many."""
    parts: list[bytes] = []
    while size:
        part = os.pread(descriptor, size, offset)
        if not part:
            return None
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def roomiest_folder() -> str:
    """Return the folder for files of a task: of the folders that Spark uses on this host, the one with most room."""
    found: list[tuple[int, str]] = []
    for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(","):
        with contextlib.suppress(OSError):
            if folder and os.access(folder, os.W_OK | os.X_OK):
                found.append((shutil.disk_usage(folder).free, folder))
    return max(found)[1] if found else tempfile.gettempdir()


def no_room(folder: str, error: OSError) -> ClusterError:
    """Return the error for a file that cannot be made or filled."""
    try:
        free = f"{shutil.disk_usage(folder).free / 1e9:,.1f} GB are free there"
    except OSError:
        free = "nobody can tell how much is free there"
    return ClusterError(
        f"rows cannot be spooled to {folder} ({error.strerror or error}; {free}): give the hosts room there, or name "
        "larger disks by spark.local.dir, or use cacheUrl"
    )


def _opened(offered: Mapping[str, Any]) -> int | None:
    """Open the file of a task on this host; None where this process cannot see it (another container)."""
    try:
        descriptor = os.open(f"/proc/{offered['pid']}/fd/{offered['descriptor']}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    found = os.fstat(descriptor)
    # In another container the number may be that of another process.
    if [found.st_dev, found.st_ino] == list(offered["file"]):
        return descriptor
    os.close(descriptor)
    return None
