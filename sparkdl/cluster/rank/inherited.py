"""What a process has from the one that started it, its environment apart; a prefork server's forks have the server's.

Some of it can be given to a rank when it begins (`settable`, `take`); the rest is part of what tells servers apart
(`fixed`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_OF_STATUS = ("Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_FILES = ("cgroup", "oom_score_adj", "personality", "attr/current")
_OF_CHILDREN = ("pid_for_children", "time_for_children")
_SELF = Path("/proc/self")
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def fixed() -> dict[str, Any]:
    """Return what a process cannot change of itself, or not without rights that it may lack; JSON values."""
    status = _status()
    found: dict[str, Any] = {name: status.get(name) for name in _OF_STATUS}
    found |= {name: _read(_SELF / name) for name in _FILES}
    with contextlib.suppress(OSError):
        spaces = sorted(set(os.listdir(_SELF / "ns")) - set(_OF_CHILDREN))
        found["ns"] = [os.readlink(_SELF / "ns" / name) for name in spaces]
    found["hard limits"] = {name: resource.getrlimit(number)[1] for name, number in _LIMITS.items()}
    found["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    if hasattr(os, "sched_getscheduler"):
        found["scheduler"] = os.sched_getscheduler(0)
    return found


def settable() -> dict[str, Any]:
    """Return what `take` gives to another process of the same user; JSON values."""
    found: dict[str, Any] = {
        "limits": {name: resource.getrlimit(number)[0] for name, number in _LIMITS.items()},
        "blocked": sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }
    if hasattr(os, "sched_getaffinity"):
        found["affinity"] = sorted(os.sched_getaffinity(0))
    # Asking the system itself would change it for a moment, for all threads.
    umask = _status().get("Umask")
    if umask is not None:
        found["umask"] = int(umask, 8)
    return found


def take(settings: Mapping[str, Any]) -> None:
    """Have from now on what `settable` has returned elsewhere; signals that were ignored are not."""
    for name, soft in settings.get("limits", {}).items():
        hard = resource.getrlimit(_LIMITS[name])[1]
        # Of a server that can have been told apart only as far as this system tells.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(_LIMITS[name], (soft, hard))
    if "affinity" in settings:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, settings["affinity"])
    if "umask" in settings:
        os.umask(settings["umask"])
    for number in signal.valid_signals():
        if number not in _IGNORED_BY_PYTHON and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if "blocked" in settings:
        signal.pthread_sigmask(signal.SIG_SETMASK, settings["blocked"])


def _status() -> dict[str, str]:
    lines = (line.partition(":") for line in _read(_SELF / "status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
