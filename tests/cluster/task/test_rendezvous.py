from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import pytest

from sparkdl.cluster import admission
from sparkdl.cluster.task.rendezvous import HorovodServer, open_rendezvous
from sparkdl.cluster.task.topology import assign
from sparkdl.comm.registry import HOROVOD_SERVER

SECRET = "5ec7e7" * 8


@pytest.fixture
def server():
    opened = open_rendezvous(HOROVOD_SERVER, "127.0.0.1", SECRET, assign(["h", "h"]))
    assert isinstance(opened, HorovodServer)
    yield opened
    opened.close()


def ask(server, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_who_knows_the_secret_may_put_and_get_and_delete(server):
    # As Horovod's own client asks, whose address is "host:port/secret".
    path = f"/{SECRET}:{server.port}/global/rank_0"
    assert ask(server, "GET", path) == (404, b"")
    assert ask(server, "PUT", path, b"value") == (200, b"")
    assert ask(server, "GET", path) == (200, b"value")
    for rank in range(2):
        assert ask(server, "DELETE", f"/{SECRET}:{server.port}/global/{rank}")[0] == 200
    assert ask(server, "GET", path) == (404, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/global/rank_0"),
        ("PUT", "/global/rank_0"),
        ("DELETE", "/global/0"),
        ("HEAD", "/"),
        ("GET", f"/{SECRET[:-1]}:1/global/rank_0"),
        ("GET", "/"),
        ("GET", "//global/rank_0"),
        ("OPTIONS", "*"),
    ],
)
def test_who_does_not_know_it_hears_nothing(server, method, path):
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(server, method, path, b"evil" if method == "PUT" else None)
    assert ask(server, "GET", f"/{SECRET}:1/global/rank_0") == (404, b"")


@pytest.mark.parametrize(
    "said", [b"", b"\n", b"\xff" * 100, b"GET / HTTP/9.9.9\r\n\r\n", b"A" * 100_000, b"\x00" * 70_000]
)
def test_rubbish_ends_the_connection_and_nothing_else(server, said, capfd):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock, contextlib.suppress(OSError):
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1000) == b""
    assert ask(server, "GET", f"/{SECRET}:1/global/rank_0") == (404, b"")
    assert capfd.readouterr() == ("", "")


def test_400_silent_connections_keep_out_nobody(server):
    before = threading.active_count()
    with contextlib.ExitStack() as strangers:
        for _ in range(400):
            strangers.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        deadline = time.monotonic() + 20
        answer = None
        while answer is None and time.monotonic() < deadline:
            # Horovod's client asks again too, where its connection was the one to go.
            with contextlib.suppress(http.client.HTTPException, OSError):
                answer = ask(server, "GET", f"/{SECRET}:1/global/rank_0")
        assert answer == (404, b"")
        assert threading.active_count() - before <= admission.STRANGERS + 1


def test_no_connection_outlives_the_server():
    server = HorovodServer("127.0.0.1", SECRET, assign(["h"]))
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as sock:
        sock.sendall(b"GET /")
        time.sleep(0.3)
        server.close()
        # Less than what Horovod's handler gives a silent client.
        assert sock.recv(1) == b""


def test_an_address_of_another_machine_is_listened_for_on_all():
    server = HorovodServer("192.0.2.1", SECRET, assign(["h"]))
    try:
        assert ask(server, "GET", f"/{SECRET}:1/global/rank_0") == (404, b"")
    finally:
        server.close()


def test_without_a_server_nothing_is_opened():
    assert open_rendezvous(None, "127.0.0.1", SECRET, assign(["h"])) is None
