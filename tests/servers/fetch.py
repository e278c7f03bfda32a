"""Programs that tests start, fetched once by their own registries' clients into a folder outside of the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FETCH_SECONDS = 900
START_SECONDS = 400


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return the folder `name` of the cache, filled by `fetch` if it is not there.

    Tests are skipped where `fetch` cannot have what it needs; a server that is there and does not start is a failure.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkdl" / "test-servers"
    base.mkdir(parents=True, exist_ok=True)
    folder = base / name
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            part = base / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fetch(part)
            part.rename(folder)
    return folder


def need(program: str, purpose: str) -> str:
    """Return where a program is; skip the test where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed, and {purpose} cannot be had without it")
    return found


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a client of a registry; skip the test where it fails, as it does without a network."""
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
    )
    if done.returncode:
        pytest.skip(f"{command[0]} could not fetch what the test needs: {(done.stdout + done.stderr)[-400:]}")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(command: list[str], log: Path, ready: Callable[[], bool], env: dict[str, str]) -> Iterator[None]:
    """Run a server while the block runs; it is ready when `ready` says so, and gone afterwards."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready():
                tail = log.read_text(errors="replace")[-2000:]
                assert process.poll() is None, f"{command[0]} ended: {tail}"
                assert time.monotonic() < deadline, f"{command[0]} was not ready in {START_SECONDS} s: {tail}"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def listens(port: int) -> bool:
    """Whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
