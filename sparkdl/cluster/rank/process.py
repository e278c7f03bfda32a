"""One rank's process as its task sees it: started, spoken to, and gone without a trace when closed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparkdl.cluster.rpc import Channel

_BOOT = (
    # The folder in which a process starts may be one that others write to: nothing is imported from there.
    "import sys; sys.path[:] = [entry for entry in sys.path if entry]; "
    "import json; settings = json.loads(sys.argv[1]); sys.path[:] = settings['path']; "
    "from sparkdl.cluster.rank.main import main; main(settings)"
)


@dataclass
class RankProcess:
    """A rank that runs, or is about to.

    Attributes
    ----------
    control : Channel
        To the rank itself.
    lifeline : Channel
        To its watchdog: closing it ends the rank; the watchdog says on it how the rank ended.
    stdout, stderr : int
        Reading ends of its pipes.
    folder : str
        Its working folder.
    warm : bool
        Whether it was forked from the prefork server.
    """

    control: Channel
    lifeline: Channel
    stdout: int
    stderr: int
    folder: str
    prefork: bool = False
    watchdog: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _output_taken: bool = field(default=False, repr=False)

    def take_output(self) -> tuple[int, int]:
        """Return `stdout` and `stderr`, which the caller closes from now on."""
        self._output_taken = True
        return self.stdout, self.stderr

    def kill(self) -> None:
        """End the rank and everything in its process group."""
        self.lifeline.close()

    def close(self) -> None:
        """End the rank if it still runs, wait for its watchdog, and leave nothing behind."""
        self.lifeline.close()
        self.control.close()
        if not self._output_taken:
            for descriptor in self.take_output():
                os.close(descriptor)
        if self.watchdog is not None:
            try:
                self.watchdog.wait(10)
            except subprocess.TimeoutExpired:
                self.watchdog.kill()
                self.watchdog.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Ends:
    """Both ends of everything that connects a task and its rank, before the rank is there."""

    lifeline: tuple[socket.socket, socket.socket]
    control: tuple[socket.socket, socket.socket]
    stdout: tuple[int, int]
    stderr: tuple[int, int]

    @classmethod
    def open(cls) -> Ends:
        """Open them; none is inherited by a child that is not meant."""
        return cls(socket.socketpair(), socket.socketpair(), os.pipe(), os.pipe())

    def close_theirs(self) -> None:
        """Close the rank's ends here, so that only the rank holds them."""
        self.lifeline[1].close()
        self.control[1].close()
        os.close(self.stdout[1])
        os.close(self.stderr[1])

    def close_ours(self) -> None:
        """Close this side's ends, where no rank came to be."""
        self.lifeline[0].close()
        self.control[0].close()
        os.close(self.stdout[0])
        os.close(self.stderr[0])

    def process(
        self, folder: str, *, watchdog: subprocess.Popen[bytes] | None = None, prefork: bool = False
    ) -> RankProcess:
        """Return this side's ends as the process that has the others."""
        return RankProcess(
            control=Channel(self.control[0]),
            lifeline=Channel(self.lifeline[0]),
            stdout=self.stdout[0],
            stderr=self.stderr[0],
            folder=folder,
            prefork=prefork,
            watchdog=watchdog,
        )


def new_folder() -> str:
    """Return a new private working folder."""
    # The number is that of the task's process: whose rank it was can be told as long as that lives.
    return tempfile.mkdtemp(prefix=f"sparkdl-rank-{os.getpid()}-")


def start_fresh(env: Mapping[str, str], path: Sequence[str]) -> RankProcess:
    """Start a rank in a fresh interpreter.

    Parameters
    ----------
    env : mapping of str to str
        Its environment.
    path : sequence of str
        Its sys.path.
    """
    folder = new_folder()
    ends = Ends.open()
    lifeline, control = ends.lifeline[1].fileno(), ends.control[1].fileno()
    settings = {"lifeline": lifeline, "control": control, "folder": folder, "path": list(path)}
    try:
        watchdog = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(settings)],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=ends.stdout[1],
            stderr=ends.stderr[1],
            pass_fds=(lifeline, control),
            start_new_session=True,
        )
    except BaseException:
        with contextlib.suppress(OSError):
            ends.close_ours()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        ends.close_theirs()
    return ends.process(folder, watchdog=watchdog)
