"""Frames over stream sockets, and a server that talks only to those who know the job's secret."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import struct
import threading
from collections.abc import Callable

from sparkdl.cluster.messages import Message, decode, encode

_HEADER = struct.Struct("!IQ")
_NONCE = 32
_HANDSHAKE_SECONDS = 10.0


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


def receive_exactly(sock: socket.socket, size: int) -> bytes | None:
    """Return exactly `size` bytes, or None if the stream ends or breaks before."""
    data = bytearray(size)
    view = memoryview(data)
    filled = 0
    try:
        while filled < size:
            count = sock.recv_into(view[filled:])
            if count == 0:
                return None
            filled += count
    except OSError:
        return None
    return bytes(data)


def connect(address: tuple[str, int], secret: str, timeout: float) -> Channel:
    """Open a channel to a `Server`; OSError if it cannot be reached or does not know the secret."""
    sock = socket.create_connection(address, timeout=timeout)
    try:
        sock.settimeout(_HANDSHAKE_SECONDS)
        theirs = receive_exactly(sock, _NONCE)
        if theirs is None:
            raise ConnectionError(f"{address[0]}:{address[1]} closed the connection before the handshake")
        ours = os.urandom(_NONCE)
        sock.sendall(ours + _digest(secret, b"client", theirs, ours))
        answer = receive_exactly(sock, _NONCE)
        if answer is None or not hmac.compare_digest(answer, _digest(secret, b"server", theirs, ours)):
            raise ConnectionError(f"{address[0]}:{address[1]} does not know the secret of this job")
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return Channel(sock)


class Server:
    """Listens on a free port and serves each connection that knows the secret in a thread of its own.

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
                return
            thread = threading.Thread(target=self._run, args=(sock,), name="sparkdl-connection", daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        channel = Channel(sock)
        with self._lock:
            self._open.add(channel)
            closed = self._closed
        try:
            if not closed and self._handshake(sock):
                self._serve(channel)
        finally:
            channel.close()
            with self._lock:
                self._open.discard(channel)
                self._threads.discard(threading.current_thread())

    def _handshake(self, sock: socket.socket) -> bool:
        sock.settimeout(_HANDSHAKE_SECONDS)
        ours = os.urandom(_NONCE)
        try:
            sock.sendall(ours)
            answer = receive_exactly(sock, 2 * _NONCE)
            if answer is None:
                return False
            theirs, digest = answer[:_NONCE], answer[_NONCE:]
            if not hmac.compare_digest(digest, _digest(self._secret, b"client", ours, theirs)):
                return False
            sock.sendall(_digest(self._secret, b"server", ours, theirs))
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return False
        return True


def _listen(host: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError:
        return socket.create_server(("", 0))


def _digest(secret: str, side: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.new(secret.encode(), side + server_nonce + client_nonce, hashlib.sha256).digest()
