"""Ranks as processes, as a task begins and hears them; without Spark."""

from __future__ import annotations

import sys
import time

import psutil

from sparkdl.cluster.messages import Heartbeat, PrepareRank, Ready, RunFunction
from sparkdl.cluster.rank import inherited

CONTEXT = {
    "rank": 0,
    "size": 1,
    "local_rank": 0,
    "local_size": 1,
    "backend": "local",
    "device": "cpu",
    "threads": 1,
    "host": "h",
    "start_timeout": 60.0,
}


def first_message(process, env, preload):
    return PrepareRank(env, sys.path, process.folder, 1, 1.0, list(preload), inherited.settable())


def begin(process, env, function, blob, preload=()):
    process.control.send(first_message(process, env, preload))
    assert hear(process) == Ready()
    process.control.send(RunFunction(function, {"RANK": "0"}, CONTEXT, 1 << 20, arguments=blob))


def hear(process):
    while isinstance(received := process.control.recv(), Heartbeat):
        pass
    return received


def wait_gone(pids, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.05)
    return False


def no_arguments():
    import cloudpickle

    return cloudpickle.dumps({})
