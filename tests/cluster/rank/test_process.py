from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from sparkdl.cluster.messages import ProcessEnded, Returned
from sparkdl.cluster.rank.process import start_fresh
from tests.cluster.rank.processes import begin, first_message, hear, no_arguments, wait_gone


@pytest.fixture
def fresh(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = start_fresh(env, sys.path)
    yield process, env
    process.close()


def sleeper(context):
    """Runs on the rank: starts a child of its own, tells both process ids and stays."""

    child = subprocess.Popen(["sleep", "100"])
    context.emit({"pids": [os.getpid(), os.getppid(), child.pid], "session": os.getsid(0), "cwd": os.getcwd()})
    time.sleep(100)


def test_a_rank_leads_its_session_and_dies_whole_with_its_lifeline(fresh):
    process, env = fresh
    begin(process, env, f"{__name__}:sleeper", no_arguments())
    record = hear(process).record
    assert record["session"] == record["pids"][0]
    assert os.path.realpath(record["cwd"]) == os.path.realpath(process.folder)
    process.kill()
    assert wait_gone(record["pids"])
    deadline = time.monotonic() + 5
    while os.path.exists(process.folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(process.folder)


def test_a_rank_does_not_outlive_its_watchdog(fresh):
    process, env = fresh
    begin(process, env, f"{__name__}:sleeper", no_arguments())
    rank, watchdog, _ = hear(process).record["pids"]
    os.kill(watchdog, 9)
    assert wait_gone([rank, watchdog])


def leaves_children(context):
    """Leaves behind a child with a session of its own, and one whose parents have ended."""
    pids = []
    for generations in (1, 2):
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if generations == 2 and os.fork():
                os._exit(0)
            os.write(write, str(os.getpid()).encode())
            time.sleep(600)
        pids.append(int(os.read(read, 20)))
    context.emit({"pids": pids})


def test_children_with_a_session_of_their_own_do_not_outlive_the_rank(fresh):
    process, env = fresh
    begin(process, env, f"{__name__}:leaves_children", no_arguments())
    pids = hear(process).record["pids"]
    assert isinstance(hear(process), Returned)
    # All that holds the connection is gone, though nobody has closed the lifeline.
    assert hear(process) is None
    assert process.lifeline.recv() == ProcessEnded(0)
    assert wait_gone(pids, 1.0)


def test_a_package_that_cannot_be_imported_is_said_with_its_command(fresh, tmp_path):
    process, env = fresh
    (tmp_path / "horovod").mkdir()
    (tmp_path / "horovod" / "__init__.py").write_text("raise ImportError('undefined symbol: _ZN5torch')")
    process.control.send(replace(first_message(process, env, ["horovod.torch"]), path=[str(tmp_path), *sys.path]))
    assert hear(process).sentence == (
        f"ClusterError: {sys.executable} cannot import horovod.torch (undefined symbol: _ZN5torch): run "
        "sparkdl-build-horovod there or bring the driver's wheel (docs/executors.md), or set backend='torch'"
    )
