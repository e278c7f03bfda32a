"""Real ranks for tests: processes that joined one group by Horovod or torch.distributed, and run what they are sent.

The file is also the program of a rank. Test folders load it by its path, see their conftest.py.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle

_LIMIT = 240.0
"""Seconds that a test's function may take on the ranks."""

_AFTER_ERROR = 15.0
"""Seconds for the other ranks once one has failed."""


class RankPool:
    """`size` processes with an open backend; they outlive a function that raises the same error on all of them."""

    def __init__(self, size: int, links: list[Connection]) -> None:
        self.size = size
        self._links = links

    def outcomes(self, function: Callable[[Any], Any]) -> list[Any]:
        """Return what function(backend) returned, or the exception that it raised, rank by rank."""
        cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
        message = cloudpickle.dumps(function)
        for link in self._links:
            link.send_bytes(message)
        answers: dict[Connection, Any] = {}
        end = time.monotonic() + _LIMIT
        while len(answers) < self.size:
            ready = wait([link for link in self._links if link not in answers], max(0.0, end - time.monotonic()))
            if not ready:
                errors = [answer for answer in answers.values() if isinstance(answer, BaseException)]
                raise TimeoutError(f"{self.size - len(answers)} ranks did not answer") from next(iter(errors), None)
            for link in ready:
                answers[link] = cloudpickle.loads(link.recv_bytes())
                if isinstance(answers[link], BaseException):
                    # The others fail at the same point, or they wait for this one in vain.
                    end = min(end, time.monotonic() + _AFTER_ERROR)
        return [answers[link] for link in self._links]

    def run(self, function: Callable[[Any], Any]) -> list[Any]:
        """Return what function(backend) returned, rank by rank; raise what the first of them raised."""
        answers = self.outcomes(function)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers


@contextmanager
def open_ranks(backend: str, size: int = 2, hosts: Sequence[int] = ()) -> Iterator[RankPool]:
    """Start the processes of a group, and end them.

    `hosts` says how many ranks each host has, which share memory then; without it they all use the network.
    """
    hosts = list(hosts)
    size = sum(hosts) or size
    with ExitStack() as stack:
        environments = stack.enter_context(_horovod(hosts or [size])) if backend == "horovod" else _torch(size)
        if hosts:
            environments = [{**of, **more} for of, more in zip(environments, _places(hosts), strict=True)]
        pairs = [socket.socketpair() for _ in environments]
        theirs = [end.fileno() for _, end in pairs]
        process = subprocess.Popen(
            [sys.executable, __file__, backend, json.dumps(list(zip(theirs, environments, strict=True)))],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _path()},
            pass_fds=theirs,
            start_new_session=True,
        )
        stack.callback(_end, process)
        links = []
        for mine, end in pairs:
            end.close()
            links.append(Connection(mine.detach()))
            stack.callback(links[-1].close)
        yield RankPool(size, links)


def _path() -> str:
    """Where a rank finds the modules of tests, that functions and feeds are of."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))


def _places(hosts: list[int]) -> list[dict[str, str]]:
    job = secrets.token_hex(16)
    return [
        {"SPARKDL_SEGMENT": f"sparkdl-{job}-{host}", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)}
        for host, size in enumerate(hosts)
        for rank in range(size)
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _horovod(hosts: list[int]) -> Iterator[list[dict[str, str]]]:
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
    from horovod.runner.gloo_run import create_slot_env_vars
    from horovod.runner.http.http_server import RendezvousServer

    server = RendezvousServer()
    port = server.start()
    size = sum(hosts)
    plan = get_host_assignments([HostInfo(f"host{host}", here) for host, here in enumerate(hosts)], size, size)
    server.init(plan)
    shared = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": "lo",
        "HOROVOD_CYCLE_TIME": "0.3",
    }
    try:
        yield [{**{k: str(v) for k, v in create_slot_env_vars(slot).items()}, **shared} for slot in plan]
    finally:
        server.stop()


def _torch(size: int) -> list[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo"}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def serve(name: str, link: Connection) -> None:
    """Be a rank until the test's end of the link closes."""
    from sparkdl.comm import open_backend

    backend = open_backend(name, timeout=60)
    try:
        while True:
            try:
                message = link.recv_bytes()
            except (EOFError, ConnectionResetError):
                break
            try:
                answer = cloudpickle.loads(message)(backend)
            except Exception as error:
                answer = error
            link.send_bytes(cloudpickle.dumps(answer))
    finally:
        backend.close()


def fork_ranks(name: str, ranks: list[tuple[int, dict[str, str]]]) -> None:
    """Be the parent of a group, which has imported for all of them what takes seconds."""
    import torch

    if name == "horovod":
        import horovod.torch  # noqa: F401

    torch.set_num_threads(1)
    for descriptor, environment in ranks:
        if not os.fork():
            for other, _ in ranks:
                if other != descriptor:
                    os.close(other)
            os.environ.update(environment)
            serve(name, Connection(descriptor))
            return
    for descriptor, _ in ranks:
        os.close(descriptor)
    for _ in ranks:
        os.wait()


if __name__ == "__main__":
    fork_ranks(sys.argv[1], json.loads(sys.argv[2]))
