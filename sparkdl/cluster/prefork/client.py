"""Ranks forked from a server that has imported torch already: the client's side, and the start of the server.

At most one server per host, user and environment. It belongs to no Spark task: Spark takes idle Python workers in
turn, so that a server inside one of them would serve every second task only. It leaves 60 s after its last rank.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import sparkdl
from sparkdl.cluster.messages import ForkRank, Prewarm, to_text
from sparkdl.cluster.rank.inherited import fixed
from sparkdl.cluster.rank.process import Ends, RankProcess, new_folder
from sparkdl.cluster.task.bootstrap import version_of
from sparkdl.comm.registry import BACKENDS

_log = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds that a client waits for its fork; the server may still be importing torch."""
FORKED, REFUSED = b"1", b"0"
"""What a server answers."""
IDLE = 60.0
"""Seconds without a rank after which a server leaves."""
_BOOT = (
    # The folder in which a process starts may be one that others write to: nothing is imported from there.
    "import sys; sys.path[:] = [entry for entry in sys.path if entry]\n"
    "import os, json\n"
    # The server outlives whoever starts it, and is nobody's child to be waited for.
    "if os.fork(): os._exit(0)\n"
    "settings = json.loads(sys.argv[1]); sys.path[:] = settings['path']\n"
    "from sparkdl.cluster.prefork.server import main; main(settings)"
)
# What the interpreter, the C library and others read while they are loaded: a fork cannot change it any more.
_READ_AT_LOAD = (
    "LD_",
    "LC_",
    "LANG",
    "MALLOC_",
    "GLIBC_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "BLIS_",
    "DNNL_",
    "ONEDNN_",
    "NPY_",
    "NUMEXPR_",
    "NUMBA_",
    "TORCH",
    "PYTORCH",
    "PYTHON",
    "ARROW_",
)
# sys.path tells of the first, a rank's output is its task's affair, and the last are Spark's own.
_NOT_OF_LOADING = ("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONSTARTUP", "PYTHON_")
# What differs from rank to rank: the server itself has none of it.
_RANKS_OWN = ("CUDA_VISIBLE_DEVICES", "HOROVOD_")
_UCRED = struct.Struct("3i")


def start_preforked(
    env: Mapping[str, str], path: Sequence[str], module: str, patience: float = PATIENCE
) -> RankProcess | None:
    """Return a rank forked from the prefork server, which is started if there is none; None where that does not work.

    Parameters
    ----------
    env : mapping of str to str
        Environment that the rank will have.
    path : sequence of str
        Its sys.path.
    module : str
        Module of its function, which the server imports first, as `server.preload_module` says.
    patience : float
        Seconds to wait for the fork.
    """
    for _ in range(2):
        # A server may leave between our connecting and our asking: then there is a second try with a new one.
        server = connect_server(env, path)
        if server is None:
            return None
        with server:
            process, answer = _fork(server, module, path, patience)
        if process is not None:
            return process
        if answer == REFUSED:
            # Its modules are not those that this sys.path would find.
            _log.info("no prefork server for this sys.path: it has imported other modules")
            return None
    return None


def prewarm_server(env: Mapping[str, str], path: Sequence[str], module: str) -> bool:
    """Let the server for this environment import what functions of `module` need, without waiting for it.

    It is started if there is none. Return whether there is one.
    """
    server = connect_server(env, path)
    if server is None:
        return False
    with server, contextlib.suppress(OSError):
        server.sendall(f"{to_text(Prewarm(module))}\n".encode())
    return True


def connect_server(env: Mapping[str, str], path: Sequence[str]) -> socket.socket | None:
    """Connect to the server for this environment, started first if there is none; None where that does not work."""
    name = f"{_key(env)}.sock"
    try:
        folder = server_folder() or _new_folder()
        with _opened(folder) as descriptor:
            # A socket's address holds 107 bytes, fewer than a temporary folder of YARN's has.
            address = Path(f"/proc/self/fd/{descriptor}") / name
            with contextlib.suppress(OSError):
                return _reused(address, name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(OSError):
                return _reused(address, name)
            _start(address, folder / name, env, path)
            server = _connect(address)
            _log.info("prefork server %s started", name)
            return server
    except (OSError, subprocess.SubprocessError) as error:
        _log.info("no prefork server %s: %s", name, error)
        return None


def server_folder() -> Path | None:
    """Return the folder of this user's servers on this host; it exists while there is one.

    Its name has a time and a part by chance, and the first that is this user's own counts: another user, who can make
    folders of such names too, can stand in nobody's way.
    """
    found = sorted(Path(tempfile.gettempdir()).glob(f"{_folder_prefix()}*"))
    return next(filter(_is_own, found), None)


def _folder_prefix() -> str:
    return f"sparkdl-prefork-{os.getuid()}-"


def _is_own(folder: Path) -> bool:
    try:
        state = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and stat.S_IMODE(state.st_mode) == 0o700


def _new_folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix=f"{_folder_prefix()}{time.time_ns():020d}-"))
    first = server_folder()
    if first is None or first == made:
        return made
    # Another process of this user has made one at the same time.
    made.rmdir()
    return first


def peer_uid(sock: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def _key(env: Mapping[str, str]) -> str:
    read = {
        name: value
        for name, value in env.items()
        if name.startswith(_READ_AT_LOAD) and not name.startswith(_NOT_OF_LOADING)
    }
    # Before an installation into the environment of a notebook that runs, and after it, are two environments.
    packages = [version_of(name) for name in ("torch", *(name for spec in BACKENDS.values() for name in spec.packages))]
    identity = [
        sys.version,
        sys.prefix,
        sparkdl.__version__,
        str(sparkdl.__file__),
        _last_change(),
        packages,
        sorted(read.items()),
        fixed(),
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


@functools.cache
def _last_change() -> int:
    """When a module of sparkdl was changed last, in ns: another build of the same version, or a checkout at work."""
    modules = Path(sparkdl.__file__).parent.rglob("*.py")
    return max((module.stat().st_mtime_ns for module in modules), default=0)


def _reused(address: Path, name: str) -> socket.socket:
    server = _connect(address)
    _log.info("prefork server %s reused", name)
    return server


def _connect(address: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(5)
        sock.connect(str(address))
        if peer_uid(sock) != os.getuid():
            raise PermissionError(f"{address} belongs to another user")
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open the folder of the sockets, which must be this user's alone; a lock on it ends with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        state = os.fstat(descriptor)
        if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) != 0o700:
            raise PermissionError(f"{folder} is not this user's own")
        yield descriptor
    finally:
        os.close(descriptor)


def _start(address: Path, name: Path, env: Mapping[str, str], path: Sequence[str]) -> None:
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        # Listening before the server runs: clients may queue while it imports.
        listener.listen(64)
        settings = {"listener": listener.fileno(), "address": str(name), "path": list(path), "idle": IDLE}
        started = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(settings)],
            env={name: value for name, value in env.items() if not name.startswith(_RANKS_OWN)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
        started.wait(30)


def _fork(server: socket.socket, module: str, path: Sequence[str], patience: float) -> tuple[RankProcess | None, bytes]:
    folder = new_folder()
    ends = Ends.open()
    theirs = [ends.lifeline[1].fileno(), ends.control[1].fileno(), ends.stdout[1], ends.stderr[1]]
    answer, forked = b"", False
    try:
        server.settimeout(patience)
        # What is longer than a socket takes at once follows; the descriptors go with the first bytes.
        request = f"{to_text(ForkRank(module, folder, list(path)))}\n".encode()
        sent = socket.send_fds(server, [request], theirs)
        server.sendall(request[sent:])
        answer = server.recv(1)
        forked = answer == FORKED
    except OSError:
        forked = False
    finally:
        ends.close_theirs()
        if not forked:
            ends.close_ours()
            shutil.rmtree(folder, ignore_errors=True)
    return ends.process(folder, prefork=True) if forked else None, answer
