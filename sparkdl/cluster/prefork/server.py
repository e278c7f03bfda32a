"""The prefork server: imports torch, Horovod and what a job's function needs once; forks a watched rank per request.

It has one thread and computes nothing, so that its forks are as good as fresh interpreters (`main._take_place`
sets anew what a process inherits). Only processes of the same user are served.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sparkdl.cluster.admission import PAUSE
from sparkdl.cluster.messages import ForkRank, Prewarm, from_text
from sparkdl.cluster.prefork.client import FORKED, REFUSED, peer_uid
from sparkdl.cluster.prefork.modules import foreign_module
from sparkdl.cluster.rank.main import serve
from sparkdl.cluster.rank.watchdog import run_watched
from sparkdl.comm.registry import BACKENDS

_REQUEST_SECONDS = 5.0
_AT_ONCE, _LONGEST = 1 << 16, 1 << 24
"""Bytes of a request."""
_READY: set[str] = set()
_PATH: list[str] = []
"""Where this server looks for modules; libraries add folders of their own to sys.path."""


def main(settings: Mapping[str, Any]) -> NoReturn:
    """Serve at the socket `settings["listener"]`, bound to `settings["address"]`.

    It ends after `settings["idle"]` seconds without a rank.
    """
    _PATH[:] = settings["path"]
    listener = socket.socket(fileno=int(settings["listener"]))
    try:
        preload()
        _serve(listener, float(settings["idle"]))
    finally:
        _remove(Path(settings["address"]))
        os._exit(0)


def preload() -> None:
    """Import what every rank needs, torch, and what those of each backend do, where it is installed and works."""
    importlib.import_module("torch")
    for name in (name for spec in BACKENDS.values() for name in spec.preload):
        # A rank that needs it imports it again, and can say what is wrong.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    importlib.import_module("cloudpickle")
    # Pages that no collection touches stay shared with the forks.
    gc.collect()
    gc.freeze()


def preload_module(module: str) -> None:
    """Import the module of a rank's function, and call its `warm_up()` if it has one, once.

    On few cores several ranks that import the same at the same time wait for each other: for a fit, Petastorm and
    pandas took longer than its first epoch.
    """
    if module in _READY:
        return
    _READY.add(module)
    # What fails here, or leaves, does so in the rank again, which can say so.
    with contextlib.suppress(Exception, SystemExit):
        loaded = importlib.import_module(module)
        getattr(loaded, "warm_up", lambda: None)()
    gc.collect()
    gc.freeze()


def _serve(listener: socket.socket, idle: float) -> None:
    watchdogs: set[int] = set()
    last_use = time.monotonic()
    listener.settimeout(1.0)
    while watchdogs or time.monotonic() - last_use < idle:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            client = None
        except OSError:
            # A client that is gone already, or no descriptor is left: the next one may do.
            time.sleep(PAUSE)
            client = None
        if client is not None:
            with client:
                pid = _fork_for(client, listener)
            if pid is not None:
                watchdogs.add(pid)
        if _reap(watchdogs) or client is not None:
            last_use = time.monotonic()


def _fork_for(client: socket.socket, listener: socket.socket) -> int | None:
    client.settimeout(_REQUEST_SECONDS)
    descriptors: list[int] = []
    try:
        if peer_uid(client) != os.getuid():
            return None
        message, descriptors, _, _ = socket.recv_fds(client, _AT_ONCE, 4)
        request = from_text(_whole(client, message).decode())
        if isinstance(request, Prewarm | ForkRank):
            preload_module(request.module)
        if not isinstance(request, ForkRank) or len(descriptors) != 4:
            return None
        if foreign_module(request.path, _PATH) is not None:
            client.sendall(REFUSED)
            return None
        pid = os.fork()
        if pid == 0:
            listener.close()
            client.close()
            _become_watchdog(request.folder, descriptors)
        client.sendall(FORKED)
    except (OSError, ValueError):
        return None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return pid


def _whole(client: socket.socket, begun: bytes) -> bytes:
    """Return a request, which is a line, from its first bytes on."""
    line = bytearray(begun)
    deadline = time.monotonic() + _REQUEST_SECONDS
    while not line.endswith(b"\n"):
        more = client.recv(_AT_ONCE) if len(line) < _LONGEST and time.monotonic() < deadline else b""
        if not more:
            raise ConnectionError("a request has no end")
        line += more
    return bytes(line)


def _become_watchdog(folder: str, descriptors: list[int]) -> NoReturn:
    try:
        os.setsid()
        lifeline, control, stdout, stderr = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.close(stdout)
        os.close(stderr)
        run_watched(lifeline, folder, (control,), lambda: serve(control))
    finally:
        os._exit(70)


def _reap(watchdogs: set[int]) -> bool:
    ended = set()
    for pid in watchdogs:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        ended.add(pid)
    watchdogs -= ended
    return bool(ended)


def _remove(address: Path) -> None:
    # Under the same lock as a start, or the socket of a successor would be removed.
    with contextlib.suppress(OSError):
        folder = os.open(address.parent, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        address.unlink(missing_ok=True)
        address.parent.rmdir()
