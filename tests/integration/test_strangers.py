"""A fit among strangers: every port that its processes listen on is connected to by those who do not know its secret.

They say nothing, rubbish, a request of HTTP, a length that nobody could send, a frame with another secret. The fit
ends as it does without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sparkdl import TorchRegressor
from sparkdl.cluster.driver import spec
from sparkdl.cluster.rpc import derived
from sparkdl.cluster.spool.spool_file import SPOOL
from sparkdl.cluster.task.rendezvous import RENDEZVOUS
from sparkdl.train import Callback

ON_ALL_INTERFACES: dict[str, str] = {}
"""Programs that may listen on all interfaces where all ranks share a host, and why: none does."""

SAID = (
    b"",
    bytes(range(256)) * 8,
    b"GET /global/rank_0 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    b"PUT /wrong:1/global/rank_0 HTTP/1.0\r\nContent-Length: 4\r\n\r\nevil",
    b"\xff" * 12,
)


class Gate(Callback):
    """Says which processes the ranks are, and waits after the first epoch until the strangers have been there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_begin(self, state: Any) -> None:
        part = self.folder / f".{os.getpid()}"
        part.write_text(str(os.getppid()))
        part.rename(self.folder / f"rank-{os.getpid()}")

    def on_epoch_end(self, state: Any) -> None:
        deadline = time.monotonic() + 60
        while state.epoch == 1 and not (self.folder / "open").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


@dataclass
class Strangers:
    """Looks for ports and connects to them until it is told to stop."""

    folder: Path
    ranks: int
    listening: set[tuple[str, int, str]] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)
    rounds: int = 0
    open: list[socket.socket] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            reported = list(self.folder.glob("rank-*"))
            processes = _processes(reported)
            for address in _listening(processes):
                if address not in self.listening:
                    self.listening.add(address)
                    self._visit(address[:2])
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    self.commands.add(" ".join(process.cmdline()))
            self.rounds += len(reported) == self.ranks
            # One full look while all ranks train, and one more visit of everything then.
            if self.rounds == 2:
                for address in self.listening:
                    self._visit(address[:2])
                (self.folder / "open").touch()
            time.sleep(0.05)

    def _visit(self, address: tuple[str, int]) -> None:
        for said in SAID:
            with contextlib.suppress(OSError):
                sock = socket.create_connection(address, timeout=5)
                self.open.append(sock)
                sock.sendall(said)
        with contextlib.suppress(OSError):
            self.open.append(_with_another_secret(address))

    def close(self) -> None:
        for sock in self.open:
            sock.close()


def _with_another_secret(address: tuple[str, int]) -> socket.socket:
    sock = socket.create_connection(address, timeout=1)
    with contextlib.suppress(OSError):
        challenge, ours = sock.recv(32), os.urandom(32)
        answer = hmac.new(b"guess", b"client" + challenge + ours, hashlib.sha256).digest()
        frame = (22).to_bytes(4, "big") + bytes(8) + b'{"message": "Heartbeat"}'
        sock.sendall(ours + answer + frame)
    return sock


def _processes(reported: list[Path]) -> list[psutil.Process]:
    """This process, Spark's Python workers, the ranks and their watchdogs; neither the JVM nor what is Spark's."""
    own = psutil.Process()
    numbers = {own.pid}
    with contextlib.suppress(psutil.Error):
        below = own.children(recursive=True)
        java = {each.pid for each in below if each.name() == "java"}
        # What the JVM has started itself is Spark's own daemon.
        numbers |= {each.pid for each in below if each.pid not in java and each.ppid() not in java}
    for path in reported:
        numbers |= {int(path.name.partition("-")[2]), int(path.read_text())}
    found = []
    for number in numbers:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(number))
    return found


def _listening(processes: list[psutil.Process]) -> Iterator[tuple[str, int, str]]:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN:
                    yield each.laddr.ip, each.laddr.port, process.name()


@pytest.fixture
def secrets_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets of the jobs that a test starts."""
    made: list[str] = []
    original = spec.secrets.token_hex

    def token_hex(size: int | None = None) -> str:
        made.append(original(size))
        return made[-1]

    monkeypatch.setattr(spec.secrets, "token_hex", token_hex)
    return made


def losses(spark: SparkSession, backend: str, feed: str, callbacks: list[Callback]) -> list[Any]:
    frame = spark.range(2000, numPartitions=2).select(
        F.array(*[(F.col("id") * i % 17).cast("float") for i in range(1, 6)]).alias("features"),
        (F.col("id") % 7).cast("float").alias("label"),
    )
    estimator = TorchRegressor(
        module="mlp", epochs=3, batchSize=200, numProcs=2, seed=1, verbose=0, device="cpu", backend=backend, feed=feed
    )
    model = estimator.setCallbacks(callbacks).fit(frame)
    return [row["loss"] for row in model.history]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "feed"), [("horovod", "direct"), ("torch", "parquet")])
def test_a_fit_goes_on_among_strangers(
    spark: SparkSession,
    backend: str,
    feed: str,
    tmp_path: Path,
    secrets_made: list[str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    alone = losses(spark, backend, feed, [])
    caplog.set_level(logging.DEBUG, "sparkdl")
    secrets_made.clear()
    strangers = Strangers(tmp_path, ranks=2)
    thread = threading.Thread(target=strangers.run)
    thread.start()
    try:
        among = losses(spark, backend, feed, [Gate(tmp_path)])
    finally:
        strangers.over.set()
        thread.join(60)
        strangers.close()
    assert among == alone
    assert (tmp_path / "open").exists()
    # Event server, coordinator, and at least one of the backend's; the spool servers where there are any.
    assert len(strangers.listening) >= (5 if feed == "direct" else 4), strangers.listening
    everywhere = {name for ip, _, name in strangers.listening if ip in ("0.0.0.0", "::")}
    assert everywhere <= set(ON_ALL_INTERFACES), strangers.listening
    assert {ip for ip, _, _ in strangers.listening} <= {"127.0.0.1", "::1"}

    secrets = [
        each for secret in secrets_made for each in (secret, derived(secret, SPOOL), derived(secret, RENDEZVOUS))
    ]
    assert len(secrets_made) >= 1
    said = capfd.readouterr()
    java = spark.sparkContext._jvm.java.lang.System
    pages = [str(spark.sparkContext.getConf().getAll()), str(java.getProperties()), str(java.getenv())]
    shown = "\n".join([*strangers.commands, *pages, said.out, said.err, caplog.text])
    assert not [secret for secret in secrets if secret in shown]
