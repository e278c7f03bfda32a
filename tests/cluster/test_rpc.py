from __future__ import annotations

import socket
import threading
import time

import pytest

from sparkdl.cluster.messages import EventRecord, Heartbeat, Raised, Ready, Returned
from sparkdl.cluster.rpc import Channel, Server, connect


@pytest.fixture
def echo():
    def serve(channel):
        while (received := channel.recv()) is not None:
            channel.send(received)

    server = Server("127.0.0.1", "secret", serve)
    yield server
    server.close()


def test_messages_and_blobs_of_any_size_arrive_whole(echo):
    channel = connect(("127.0.0.1", echo.port), "secret", 5)
    for message in (
        Ready(),
        EventRecord({"a": [1, "é\n"], "b": None}),
        Raised("é", "", secondary=False, error=b"x"),
        Returned(bytes(range(256)) * 40_000),
    ):
        channel.send(message)
        assert channel.recv() == message
    channel.close()


def test_another_secret_is_refused_and_hears_nothing(echo):
    with pytest.raises(ConnectionError, match="does not know the secret"):
        connect(("127.0.0.1", echo.port), "guess", 5)


def test_a_server_without_the_secret_is_not_believed():
    listener = socket.create_server(("127.0.0.1", 0))

    def pretend():
        sock, _ = listener.accept()
        with sock:
            sock.sendall(bytes(32))
            sock.recv(64)
            sock.sendall(bytes(32))

    thread = threading.Thread(target=pretend)
    thread.start()
    with pytest.raises(ConnectionError, match="does not know the secret"):
        connect(("127.0.0.1", listener.getsockname()[1]), "secret", 5)
    thread.join()
    listener.close()


def test_a_client_that_says_nothing_keeps_nobody_waiting(echo):
    with socket.create_connection(("127.0.0.1", echo.port)):
        begun = time.monotonic()
        channel = connect(("127.0.0.1", echo.port), "secret", 5)
        channel.send(Heartbeat())
        assert channel.recv() == Heartbeat()
        assert time.monotonic() - begun < 5
        channel.close()


def test_close_wakes_up_a_waiting_receiver():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(channel.recv()))
    thread.start()
    channel.close()
    thread.join(5)
    assert answers == [None]
    theirs.close()


def test_sending_to_somebody_who_takes_nothing_is_limited():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    channel.limit_sending(0.2)
    begun = time.monotonic()
    assert channel.try_send(Returned(bytes(50_000_000))) is False
    assert time.monotonic() - begun < 10
    channel.close()
    theirs.close()


def test_close_ends_threads_and_frees_the_port(echo):
    channel = connect(("127.0.0.1", echo.port), "secret", 5)
    port = echo.port
    echo.close()
    assert channel.recv() is None
    assert not [thread for thread in threading.enumerate() if thread.name in ("sparkdl-accept", "sparkdl-connection")]
    with pytest.raises(OSError, match="refused"):
        connect(("127.0.0.1", port), "secret", 5)
    channel.close()
