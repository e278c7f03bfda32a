from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.cluster import admission, rpc
from sparkdl.cluster.messages import EventRecord, Heartbeat, Message, MessageError, Raised, Ready, Returned, encode
from sparkdl.cluster.rpc import Channel, Server, connect, receive_exactly


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


def test_400_silent_connections_keep_out_nobody_and_are_let_go(echo):
    before = threading.active_count()
    with contextlib.ExitStack() as strangers:
        silent = [
            strangers.enter_context(socket.create_connection(("127.0.0.1", echo.port), timeout=10)) for _ in range(400)
        ]
        channel = connect(("127.0.0.1", echo.port), "secret", 20)
        channel.send(Heartbeat())
        assert channel.recv() == Heartbeat()
        assert threading.active_count() - before <= admission.STRANGERS + 1
        # The first of them have had to go: what they read is the challenge, and then the end.
        assert receive_exactly(silent[0], 33) is None
        for _ in range(100):
            strangers.enter_context(socket.create_connection(("127.0.0.1", echo.port), timeout=10))
        channel.send(Ready())
        assert channel.recv() == Ready()
        channel.close()


def test_a_stranger_who_says_a_byte_now_and_then_has_the_same_deadline(monkeypatch):
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                theirs.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    assert receive_exactly(ours, 1 << 20, time.monotonic() + 0.5) is None
    stop.set()
    thread.join()
    ours.close()
    theirs.close()


def test_a_peer_that_had_to_make_room_tries_again():
    listener = socket.create_server(("127.0.0.1", 0))
    served = []

    def serve():
        for turn in range(2):
            sock, _ = listener.accept()
            with sock:
                if turn == 0:
                    continue
                server = Server.__new__(Server)
                server._secret, server._admission = "secret", admission.Admission()
                served.append(server._handshake(sock, server._admission.enter(sock)))

    thread = threading.Thread(target=serve)
    thread.start()
    connect(("127.0.0.1", listener.getsockname()[1]), "secret", 5).close()
    thread.join()
    listener.close()
    assert served == [True]


def test_a_server_that_is_out_of_descriptors_goes_on_when_there_are_some_again():
    # In a process of its own: the limit is that of a process.
    ended = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "well\n"), ended.stderr


def out_of_descriptors() -> None:
    server = Server("127.0.0.1", "secret", lambda channel: channel.send(Ready()))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = connect(("127.0.0.1", server.port), "secret", 5)
    assert first.recv() == Ready()
    waiting = socket.socket()
    resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, most))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    # The kernel takes the connection, the server cannot.
    waiting.connect(("127.0.0.1", server.port))
    time.sleep(3 * admission.PAUSE)
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    last = connect(("127.0.0.1", server.port), "secret", 5)
    assert last.recv() == Ready()
    print("well")
    server.close()


def test_a_connection_that_is_gone_before_it_is_accepted_ends_nothing(echo):
    for _ in range(50):
        sock = socket.create_connection(("127.0.0.1", echo.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    channel = connect(("127.0.0.1", echo.port), "secret", 5)
    channel.send(Ready())
    assert channel.recv() == Ready()
    channel.close()


def received(data: bytes) -> Message | None:
    """What a channel makes of these bytes and the end after them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        sender = threading.Thread(target=lambda: (theirs.sendall(data), theirs.shutdown(socket.SHUT_WR)))
        sender.start()
        try:
            return Channel(ours).recv()
        finally:
            ours.close()
            sender.join(10)


def test_a_length_that_is_announced_takes_no_memory():
    for sizes in ((1 << 28, 0), (0, 1 << 40)):
        tracemalloc.start()
        assert received(struct.pack("!IQ", *sizes) + b"{}") is None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 26
    for sizes in (((1 << 28) + 1, 0), (2, (1 << 40) + 1), ((1 << 32) - 1, (1 << 64) - 1)):
        with pytest.raises(MessageError, match="was announced"):
            received(struct.pack("!IQ", *sizes) + b"{}")


def framed(message: Message) -> bytes:
    header, blob = encode(message)
    return struct.pack("!IQ", len(header), len(blob)) + header + blob


FRAMES = [framed(each) for each in (Heartbeat(), EventRecord({"a": [1, 2.5]}), Raised("é", "t", True, b"blob" * 20))]


@given(
    frame=st.sampled_from(FRAMES),
    start=st.integers(0, 200),
    count=st.integers(0, 20),
    new=st.binary(max_size=20),
)
def test_damaged_bytes_are_a_message_an_end_or_refused(frame, start, count, new):
    data = bytearray(frame)
    data[start : start + count] = new
    with contextlib.suppress(MessageError):
        message = received(bytes(data))
        assert message is None or isinstance(message, Message)


def test_a_message_larger_than_the_room_made_at_once_arrives_whole(echo, monkeypatch):
    monkeypatch.setattr(rpc, "_AT_ONCE", 1000)
    channel = connect(("127.0.0.1", echo.port), "secret", 5)
    for size in (999, 1000, 1001, 2000, 100_003):
        message = Returned(bytes(range(256)) * (size // 256) + bytes(size % 256))
        channel.send(message)
        assert channel.recv() == message
    channel.close()


if __name__ == "__main__":
    out_of_descriptors()
