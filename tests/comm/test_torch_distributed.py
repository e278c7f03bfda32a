from __future__ import annotations

import socket
from datetime import timedelta

import psutil
import pytest

from sparkdl.comm import torch_distributed


@pytest.fixture
def reserved(monkeypatch):
    """A port that is bound, as the task of rank 0 keeps it for its rank."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("", 0))
        port = keeper.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        yield port


def test_the_store_listens_where_the_ranks_are_and_nowhere_else(reserved):
    store = torch_distributed._open_store(0, 1, timedelta(seconds=20))
    store.set("key", "value")
    assert store.get("key") == b"value"
    listening = [
        each.laddr
        for each in psutil.Process().net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == reserved
    ]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    other = torch_distributed._open_store(1, 1, timedelta(seconds=20))
    assert other.get("key") == b"value"


def test_strangers_do_the_store_no_harm(reserved):
    store = torch_distributed._open_store(0, 1, timedelta(seconds=20))
    strangers = []
    for said in (b"", b"\xff" * 1000, b"GET / HTTP/1.1\r\n\r\n", (1 << 63).to_bytes(8, "little") * 10):
        strangers.append(socket.create_connection(("127.0.0.1", reserved), timeout=5))
        strangers[-1].sendall(said)
    store.set("key", "value")
    assert store.get("key") == b"value"
    for sock in strangers:
        sock.close()
    assert store.get("key") == b"value"


def test_an_address_of_another_machine_is_left_to_torch():
    assert torch_distributed._listen("192.0.2.1", 0) is None
