"""Frames over stream sockets, and a server that talks only to those who know the job's secret."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable

from sparkdl.cluster.admission import HANDSHAKE_SECONDS, PAUSE, Admission
from sparkdl.cluster.messages import Message, MessageError, decode, encode

_log = logging.getLogger(__name__)

_HEADER = struct.Struct("!IQ")
_LONGEST = (1 << 28, 1 << 40)
"""Bytes of a message's JSON, and of what travels beside it."""
_AT_ONCE = 1 << 24
"""Bytes for which room is made before any of them is there."""
_NONCE = 32
_TRIES = 3


class Channel:
    """Messages in both directions.

    `send` may be called from several threads, `recv` from one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message; OSError if the other side is gone."""
        header, blob = encode(message)
        with self._sending:
            self._socket.sendall(_HEADER.pack(len(header), len(blob)) + header)
            if blob:
                self._socket.sendall(blob)

    def try_send(self, message: Message) -> bool:
        """Send one message; return whether the other side was there."""
        try:
            self.send(message)
        except OSError:
            return False
        return True

    def recv(self) -> Message | None:
        """Wait for one message; None when the other side has closed or is gone, MessageError if it sends none."""
        head = receive_exactly(self._socket, _HEADER.size)
        if head is None:
            return None
        header_size, blob_size = _HEADER.unpack(head)
        if header_size > _LONGEST[0] or blob_size > _LONGEST[1]:
            raise MessageError(f"a message of {header_size:,} and {blob_size:,} bytes was announced: that is none")
        header = receive_exactly(self._socket, header_size)
        blob = receive_exactly(self._socket, blob_size) if header is not None else None
        if header is None or blob is None:
            return None
        return decode(header, blob)

    def limit_sending(self, seconds: float) -> None:
        """Let `send` fail when the other side takes nothing for so long; `recv` is not limited."""
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def limit_receiving(self, seconds: float) -> None:
        """Let `recv` return None when nothing comes for so long."""
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def fileno(self) -> int:
        """Return the descriptor, for handing it to another process."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close both directions; a `recv` that waits in another thread returns None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def receive_exactly(sock: socket.socket, size: int, deadline: float | None = None) -> bytes | None:
    """Return exactly `size` bytes, or None if the stream ends or breaks before, or they are not there by `deadline`.

    What is announced takes no memory before it comes: beyond 16 MiB room is made as it is filled. `deadline` is a time
    of `time.monotonic`.
    """
    data = bytearray(min(size, _AT_ONCE))
    filled = 0
    try:
        while filled < size:
            if filled == len(data):
                data.extend(bytes(min(filled, size - filled)))
            if deadline is not None:
                # The socket's own limit starts anew with each byte.
                sock.settimeout(max(1e-3, deadline - time.monotonic()))
            with memoryview(data) as view:
                count = sock.recv_into(view[filled:])
            if count == 0:
                return None
            filled += count
    except OSError:
        return None
    return bytes(data)


def connect(address: tuple[str, int], secret: str, timeout: float) -> Channel:
    """Open a channel to a `Server`; OSError if it cannot be reached or does not know the secret."""
    last = time.monotonic() + timeout
    for left in reversed(range(_TRIES)):
        try:
            return _connected(address, secret, max(1.0, last - time.monotonic()))
        except _ClosedError:
            # Among many strangers it may have been the one to go.
            if not left or time.monotonic() >= last:
                raise
            time.sleep(PAUSE)
    raise AssertionError("unreachable")


class _ClosedError(ConnectionError):
    """The other side has closed the connection before it has shown anything."""


def _connected(address: tuple[str, int], secret: str, timeout: float) -> Channel:
    where = f"{address[0]}:{address[1]}"
    sock = socket.create_connection(address, timeout=timeout)
    try:
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        theirs = receive_exactly(sock, _NONCE, deadline)
        if theirs is None:
            raise _ClosedError(f"{where} closed the connection before the handshake")
        ours = os.urandom(_NONCE)
        sock.sendall(ours + _digest(secret, b"client", theirs, ours))
        answer = receive_exactly(sock, _NONCE, deadline)
        if answer is None:
            raise _ClosedError(f"{where} does not know the secret of this job")
        if not hmac.compare_digest(answer, _digest(secret, b"server", theirs, ours)):
            raise ConnectionError(f"{where} does not know the secret of this job")
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return Channel(sock)


class Server:
    """Listens on a free port and serves each connection that knows the secret in a thread of its own.

    Before that a connection is given a few seconds and 64 bytes, and only so many of them at a time.

    Parameters
    ----------
    host : str
        Address to listen on; where it is not an address of this machine (a container behind a bridge), on all.
    secret : str
    serve : callable of (Channel) -> None
        Called once for each connection; the channel is closed when it returns.
    """

    def __init__(self, host: str, secret: str, serve: Callable[[Channel], None]) -> None:
        self._secret = secret
        self._serve = serve
        self._admission = Admission()
        self._socket = _listen(host)
        self._lock = threading.Lock()
        self._open: set[Channel] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name="sparkdl-accept", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Stop listening, close every connection and wait for the threads."""
        with self._lock:
            self._closed = True
            channels = list(self._open)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for channel in channels:
            channel.close()
        self._acceptor.join(5)
        self._socket.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                with self._lock:
                    if self._closed:
                        return
                # A connection that is over already, or no descriptor is left: the next one may do.
                time.sleep(PAUSE)
                continue
            deadline = self._admission.enter(sock)
            thread = threading.Thread(target=self._run, args=(sock, deadline), name="sparkdl-connection", daemon=True)
            with self._lock:
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                # No thread is left.
                self._forget(sock, thread)
                time.sleep(PAUSE)

    def _run(self, sock: socket.socket, deadline: float) -> None:
        channel = Channel(sock)
        with self._lock:
            self._open.add(channel)
            closed = self._closed
        try:
            if not closed and self._handshake(sock, deadline):
                self._serve(channel)
        except MessageError as error:
            _log.warning("a connection has ended: %s", error)
        finally:
            channel.close()
            with self._lock:
                self._open.discard(channel)
            self._forget(sock, threading.current_thread())

    def _forget(self, sock: socket.socket, thread: threading.Thread) -> None:
        self._admission.leave(sock)
        sock.close()
        with self._lock:
            self._threads.discard(thread)

    def _handshake(self, sock: socket.socket, deadline: float) -> bool:
        ours = os.urandom(_NONCE)
        try:
            sock.settimeout(HANDSHAKE_SECONDS)
            sock.sendall(ours)
            answer = receive_exactly(sock, 2 * _NONCE, deadline)
            if answer is None:
                return False
            theirs, digest = answer[:_NONCE], answer[_NONCE:]
            if not hmac.compare_digest(digest, _digest(self._secret, b"client", ours, theirs)):
                return False
            if not self._admission.leave(sock):
                return False
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(_digest(self._secret, b"server", ours, theirs))
        except OSError:
            return False
        return True


def _listen(host: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError:
        return socket.create_server(("", 0))


def derived(secret: str, of: str) -> str:
    """Return a secret made from that of a job, which opens something else and does not open the coordinator."""
    return hashlib.sha256(f"{of} of {secret}".encode()).hexdigest()


def _digest(secret: str, side: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.new(secret.encode(), side + server_nonce + client_nonce, hashlib.sha256).digest()
