"""Ranks forked from a server: as a fresh interpreter begins, and which server serves whom."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sparkdl.cluster.messages import PrepareRank, Ready, Returned
from sparkdl.cluster.prefork import client
from sparkdl.cluster.prefork.client import server_folder, start_preforked
from sparkdl.cluster.rank import inherited
from sparkdl.cluster.rank.process import start_fresh
from tests.cluster.rank.processes import begin, hear, no_arguments, wait_gone


def look(context):
    """Runs on the rank: what a process can inherit."""
    import random
    import signal

    import numpy
    import torch

    return {
        "env": dict(os.environ),
        "path": list(sys.path),
        "cwd": os.getcwd(),
        "threads": torch.get_num_threads(),
        "random": (random.random(), float(numpy.random.rand()), torch.initial_seed()),
        "signals": {n: getattr(h := signal.getsignal(n), "__qualname__", h) for n in signal.valid_signals()},
        "settable": inherited.settable(),
        "fixed": inherited.fixed(),
        "time zone": time.tzname,
        "argv": sys.argv,
    }


def run_look(process, env):
    import cloudpickle

    begin(process, env, f"{__name__}:look", no_arguments(), ["torch"])
    message = hear(process)
    assert isinstance(message, Returned), message
    process.close()
    return cloudpickle.loads(message.value)


@pytest.fixture
def prefork_folder(tmp_path, monkeypatch):
    # Longer than the address of a Unix socket may be, as on YARN.
    deep = tmp_path / ("long" * 20) / ("longer" * 10)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    yield deep
    for pid in server_pids(deep):
        psutil.Process(pid).kill()


@contextlib.contextmanager
def another_program():
    """Another program's umask, limits, affinity and signals, which the server that it starts has from it."""
    before = inherited.settable()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ignored = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        inherited.take({"umask": 0o77, "affinity": before["affinity"][:1], "blocked": [signal.SIGUSR2]})
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(500, hard), hard))
        yield
    finally:
        inherited.take(before)
        signal.signal(signal.SIGQUIT, ignored)


def test_a_fork_is_as_isolated_as_a_fresh_interpreter(prefork_folder, caplog):
    caplog.set_level("INFO", "sparkdl.cluster.prefork")
    env = {**os.environ, "MARK": "1", "OMP_NUM_THREADS": "1"}
    seen = []
    for number, program in ((1, another_program()), (2, contextlib.nullcontext())):
        with program:
            process = start_preforked({**env, "MARK": str(number), "TZ": f"ABC-{number}"}, sys.path, __name__)
        assert process is not None
        assert process.prefork
        seen.append(run_look(process, {**env, "MARK": str(number)}))
    fresh = run_look(start_fresh(env, sys.path), env)
    assert [s["env"].pop("MARK") for s in seen] == ["1", "2"]
    fresh["env"].pop("MARK")
    draws = [s.pop("random") for s in (*seen, fresh)]
    assert len({d for triple in draws for d in triple}) == 9
    assert len({s.pop("cwd") for s in (*seen, fresh)}) == 3
    assert seen[0] == seen[1] == fresh
    folder = server_folder()
    assert folder is not None
    (server,) = folder.glob("*.sock")
    assert caplog.messages == [f"prefork server {server.name} {how}" for how in ("started", "reused")]


def loaded(context):
    return sorted({"petastorm", "torchmetrics", "torch._dynamo"} & set(sys.modules))


def test_a_fork_for_a_fit_has_what_a_fit_imports(prefork_folder):
    import cloudpickle

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert client.prewarm_server(env, sys.path, "sparkdl.worker")
    process = start_preforked(env, sys.path, "sparkdl.worker")
    begin(process, env, f"{__name__}:loaded", no_arguments())
    message = hear(process)
    process.close()
    assert isinstance(message, Returned), message
    assert cloudpickle.loads(message.value) == ["petastorm", "torchmetrics"]


def test_a_killed_server_is_replaced_and_an_idle_one_leaves_with_its_folder(prefork_folder, monkeypatch):
    assert client.IDLE == 60.0
    monkeypatch.setattr(client, "IDLE", 1.0)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = start_preforked(env, sys.path, __name__)
    assert process is not None
    (first,) = server_pids(prefork_folder)
    process.close()
    os.kill(first, 9)
    assert wait_gone([first])
    # It has left its socket behind.
    again = start_preforked(env, sys.path, __name__)
    assert again is not None
    (second,) = server_pids(prefork_folder)
    assert second != first
    time.sleep(2.5)
    assert psutil.pid_exists(second), "a server with a rank is not idle"
    again.close()
    assert wait_gone([second])
    assert server_folder() is None


def test_a_server_goes_on_after_rubbish_and_a_lack_of_descriptors(prefork_folder):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = start_preforked(env, sys.path, __name__)
    assert process is not None
    process.close()
    (pid,) = server_pids(prefork_folder)
    for said in (b"", b"rubbish\n", b'{"message": "ForkRank"}\n', b'{"message": "Heartbeat"}\n', b"no end", b"\xff\n"):
        with client.connect_server(env, sys.path) as server:
            server.sendall(said)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    # The kernel takes the connection, the server cannot.
    with client.connect_server(env, sys.path):
        time.sleep(0.3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    again = start_preforked(env, sys.path, __name__)
    assert again is not None
    again.close()
    assert server_pids(prefork_folder) == [pid]


def server_pids(folder):
    found = {}
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = " ".join(process.info["cmdline"] or ())
        if "prefork.server" in words and str(folder) in words:
            found[process.pid] = process.info["ppid"]
    # Its forks have the same command line.
    return [pid for pid, parent in found.items() if parent not in found]


def test_folders_of_such_a_name_that_are_not_this_users_alone_are_passed_over(prefork_folder, tmp_path):
    prefix = f"sparkdl-prefork-{os.getuid()}-"
    open_to_all = prefork_folder / f"{prefix}0"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (prefork_folder / f"{prefix}1").symlink_to(private)
    (prefork_folder / f"{prefix}2").touch(mode=0o700)
    assert server_folder() is None
    process = start_preforked({**os.environ, "OMP_NUM_THREADS": "1"}, sys.path, __name__)
    assert process is not None
    process.close()
    folder = server_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.suffix for path in folder.iterdir()] == [".sock"]
    assert not list(open_to_all.iterdir())
    assert not list(private.iterdir())


def test_nobody_can_make_the_folder_of_another_users_servers(prefork_folder, monkeypatch):
    uid = os.getuid()
    (prefork_folder / f"sparkdl-prefork-{uid + 1}-0").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert server_folder() is None


def test_two_that_make_a_folder_at_the_same_time_agree_on_one(prefork_folder):
    made = [client._new_folder() for _ in range(3)]
    assert set(made) == {server_folder()}
    assert len(list(prefork_folder.glob("sparkdl-prefork-*"))) == 1


@pytest.mark.parametrize("start", ["fresh", "prefork"])
def test_nothing_is_imported_from_the_folder_in_which_a_process_starts(prefork_folder, tmp_path, monkeypatch, start):
    for name in ("json", "os", "sparkdl", "torch"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').write({name!r})")
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    path = [entry for entry in sys.path if entry]
    process = start_fresh(env, path) if start == "fresh" else start_preforked(env, path, __name__)
    assert process is not None
    process.control.send(PrepareRank(env, path, process.folder, 1, 1.0, []))
    assert hear(process) == Ready()
    process.close()
    assert not (tmp_path / "imported").exists()


def test_what_a_fork_cannot_change_asks_for_another_server():
    program = (
        "import os, resource\n"
        "from sparkdl.cluster.prefork.client import _key\n"
        "print(_key({}), _key({'LC_ALL': 'C'}), _key({'PYTHONPATH': '/x', 'PYTHON_OF_SPARK': 'y', 'HOME': '/z'}))\n"
        "limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit - 1, limit))\n"
        "print(_key({}))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit - 1, limit - 1))\n"
        "print(_key({}))\n"
        "os.nice(1)\n"
        "print(_key({}))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    key, locale, not_of_loading, soft, hard, nice = said
    assert key == not_of_loading == soft
    assert len({key, locale, hard, nice}) == 4


def test_a_server_with_other_modules_is_not_asked_twice(prefork_folder, tmp_path, caplog):
    caplog.set_level("INFO", "sparkdl.cluster.prefork")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    own = tmp_path / "own"
    own.mkdir()
    # torch imports the module of this name, and would have got this one.
    (own / "pickletools.py").write_text("mine = True")
    long_path = [*sys.path, *(f"/no/such/folder/{number:0100}" for number in range(500))]
    process = start_preforked(env, long_path, __name__)
    assert process is not None
    process.close()
    assert start_preforked(env, [str(own), *sys.path], __name__) is None
    assert caplog.messages[-1] == "no prefork server for this sys.path: it has imported other modules"


def test_a_server_that_does_not_answer_is_given_up(prefork_folder, monkeypatch):
    monkeypatch.setattr(client, "_BOOT", "import time; time.sleep(0)")
    begun = time.monotonic()
    assert start_preforked(dict(os.environ), sys.path, __name__, patience=1.0) is None
    assert time.monotonic() - begun < 30
    assert not list(prefork_folder.glob("sparkdl-rank-*"))


def test_a_package_of_another_version_is_another_environment(tmp_path):
    """What `%pip install` does to the environment of a notebook that runs."""
    (tmp_path / "torch-0.0.1.dist-info").mkdir()
    (tmp_path / "torch-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    before = client._key({})
    sys.path.insert(0, str(tmp_path))
    try:
        assert client._key({}) != before
    finally:
        sys.path.remove(str(tmp_path))
    assert client._key({}) == before


def test_changed_modules_of_sparkdl_are_another_environment(tmp_path):
    """Another build of the same version, or a checkout that somebody works on."""
    package = tmp_path / "sparkdl"
    shutil.copytree(Path(client.sparkdl.__file__).parent, package, ignore=shutil.ignore_patterns("jars", "__pycache__"))
    program = "from sparkdl.cluster.prefork import client; print(client._key({}), client.sparkdl.__file__)"

    def said():
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=tmp_path).stdout.split()

    key, file = said()
    assert file == str(package / "__init__.py")
    assert said() == [key, file]
    (package / "worker.py").touch()
    assert said()[0] != key
