"""The watchdog of a rank: a small process between the task and the rank that outlives the death of either.

Spark ends Python workers by SIGKILL, which nobody can catch; a thread inside the rank cannot act while native code
holds the interpreter lock. So a process of its own waits for the rank's end and for the end of the lifeline,
kills what is left of the rank's process group and what has left it, removes the working folder, and reports how the
rank ended. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from sparkdl.cluster.messages import ProcessEnded
from sparkdl.cluster.rpc import Channel

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_END_SECONDS = 5.0
"""For what the rank has left behind."""


def run_watched(lifeline: int, folder: str, keep: tuple[int, ...], rank: Callable[[], None]) -> NoReturn:
    """Fork the rank and watch over it; never returns. The caller leads a session and has one thread.

    Parameters
    ----------
    lifeline : int
        Socket to the task. When it ends the rank is killed; the rank's end is reported on it.
    folder : str
        Working folder of the rank, removed when the rank has ended.
    keep : tuple of int
        Descriptors that only the rank needs.
    rank : callable of () -> None
        What the rank does, in a session of its own.
    """
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    watchdog_pid = os.getpid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        _become_rank(watchdog_pid, (lifeline, wake_read, wake_write))
        try:
            rank()
        finally:
            os._exit(70)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _let_go(keep)
    _wait_for_either_end(pid, lifeline, wake_read)
    status = _end_group(pid)
    shutil.rmtree(folder, ignore_errors=True)
    Channel(socket.socket(fileno=lifeline)).try_send(ProcessEnded(status))
    os._exit(0)


def _become_rank(watchdog_pid: int, foreign: tuple[int, ...]) -> None:
    os.setsid()
    # If somebody kills the watchdog, the kernel ends the rank.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != watchdog_pid:
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in foreign:
        os.close(descriptor)


def _let_go(descriptors: tuple[int, ...]) -> None:
    # The readers of the rank's output wait for the last holder of the pipes.
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for descriptor in descriptors:
        os.close(descriptor)


def _wait_for_either_end(pid: int, lifeline: int, wake: int) -> None:
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for descriptor, _ in poll.poll(1000):
            # The task never writes here: readable means that it has closed, or is gone.
            if descriptor == lifeline:
                return
            with contextlib.suppress(OSError):
                os.read(wake, 4096)


def _end_group(pid: int) -> int:
    # Before the leader is reaped its number cannot belong to anybody else.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    _end_children()
    return os.waitstatus_to_exitcode(status)


def _end_children() -> None:
    """End what has left the rank's process group: without its parents it is a child of this subreaper.

    It holds the pipes of the rank, for whose end the task would wait.
    """
    deadline = time.monotonic() + _END_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            # Those of one that ends are children from then on.
            if not os.waitpid(-1, os.WNOHANG)[0]:
                for child in _children():
                    # One of another user's stays.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(child, signal.SIGKILL)
                time.sleep(0.01)


def _children() -> list[int]:
    own, found = os.getpid(), []
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            # It may be gone.
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:
                # The name, in brackets, may have any bytes in it.
                if int(stat.read().rpartition(b")")[2].split()[1]) == own:
                    found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
