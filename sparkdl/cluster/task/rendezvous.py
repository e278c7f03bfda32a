"""Where the ranks of one attempt of one job find each other: the only door to horovod.runner."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sparkdl.cluster.admission import PAUSE, Admission
from sparkdl.cluster.task.topology import Topology
from sparkdl.comm.registry import HOROVOD_SERVER, RESERVED_PORT

RENDEZVOUS = "rendezvous"
"""What the secret for it is `derived` for."""

_log = logging.getLogger(__name__)


class HorovodServer:
    """Horovod's own rendezvous server on a free port of one address, open to those who know a secret.

    Horovod's `RendezvousServer` listens on all interfaces, asks nobody for a password and draws its port from Python's
    global random state; its parts are used here without any of that. It may not be used a second time: `shutdown` and
    `init` on the same server hang.

    Parameters
    ----------
    host : str
        Address to listen on; on all where it is not an address of this machine.
    secret : str
        First part of the path of each request, as `Meeting` makes the ranks send it; others hear nothing.
    topologies : sequence of Topology
        All ranks.
    """

    def __init__(self, host: str, secret: str, topologies: Sequence[Topology]) -> None:
        from horovod.runner.common.util.hosts import SlotInfo

        try:
            self._server = _open_to(secret, (host, 0))
        except OSError:
            self._server = _open_to(secret, ("", 0))
        self._server.init(
            [
                SlotInfo(
                    hostname=topology.host,
                    rank=topology.rank,
                    local_rank=topology.local_rank,
                    cross_rank=topology.cross_rank,
                    size=topology.size,
                    local_size=topology.local_size,
                    cross_size=topology.cross_size,
                )
                for topology in topologies
            ]
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="sparkdl-rendezvous", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop the server and release its port."""
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


def _open_to(secret: str, address: tuple[str, int]) -> Any:
    """Return Horovod's server with requests that begin with the secret let in, and few others at a time."""
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    admission = Admission()
    wanted = secret.encode()

    class Handler(RendezvousHandler):  # type: ignore[misc]
        raw_requestline: bytes

        def parse_request(self) -> bool:
            # Before anything of the request is looked at: a HEAD, for one, would be answered from the working folder.
            words = self.raw_requestline.split(b"/", 2)
            known = len(words) == 3 and hmac.compare_digest(words[1].partition(b":")[0], wanted)
            if not known or not admission.leave(self.connection):
                self.close_connection = True
                return False
            self.raw_requestline = b"/".join((words[0], words[2]))
            return bool(super().parse_request())

        def send_error(self, *_: object, **__: object) -> None:
            # A line that is too long is answered before it is parsed.
            self.close_connection = True

    class Server(RendezvousHTTPServer):  # type: ignore[misc]
        daemon_threads = True
        request_queue_size = 128

        def get_request(self) -> tuple[socket.socket, Any]:
            try:
                sock, peer = super().get_request()
            except OSError:
                # No descriptor is left: without a pause the loop would try for ever, as fast as it can.
                time.sleep(PAUSE)
                raise
            admission.enter(sock)
            return sock, peer

        def shutdown_request(self, request: socket.socket) -> None:
            admission.leave(request)
            super().shutdown_request(request)

        def service_actions(self) -> None:
            admission.expire()

        def server_close(self) -> None:
            super().server_close()
            admission.close()

        def handle_error(self, request: socket.socket, client_address: Any) -> None:
            _log.debug("a request to Horovod's rendezvous has failed", exc_info=True)

    return Server(address, Handler, 0)


class ReservedPort:
    """A free port for a rank to listen on: nobody else is given the number.

    Two sockets may be bound to one port as long as both allow it and not more than one listens; torch's store does.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("", 0))

    @property
    def port(self) -> int:
        """Its number."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()


_OPENERS: dict[str, Callable[[str, str, Sequence[Topology]], HorovodServer | ReservedPort]] = {
    HOROVOD_SERVER: HorovodServer,
    RESERVED_PORT: lambda host, secret, topologies: ReservedPort(),
}


def open_rendezvous(
    kind: str | None, host: str, secret: str, topologies: Sequence[Topology]
) -> HorovodServer | ReservedPort | None:
    """Open what `BackendSpec.rendezvous` names, in the task of rank 0; None where it names nothing.

    Parameters
    ----------
    kind : str or None
    host : str
        Address of this task that the others reach.
    secret : str
        `derived` from that of the job.
    topologies : sequence of Topology
        All ranks.
    """
    return None if kind is None else _OPENERS[kind](host, secret, topologies)
