"""Where the ranks of one attempt of one job find each other: the only door to horovod.runner."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from sparkdl.cluster.task.topology import Topology
from sparkdl.comm.registry import HOROVOD_SERVER, RESERVED_PORT


class HorovodServer:
    """Horovod's own rendezvous server on a free port of one address.

    Horovod's `RendezvousServer` listens on all interfaces and draws its port from Python's global random
    state; its parts are used here without either. It asks nobody for a password, so it is reachable only where the
    ranks are. It may not be used a second time: `shutdown` and `init` on the same server hang.

    Parameters
    ----------
    host : str
        Address to listen on; on all where it is not an address of this machine.
    places : sequence of Topology
        All ranks.
    """

    def __init__(self, host: str, topologies: Sequence[Topology]) -> None:
        from horovod.runner.common.util.hosts import SlotInfo
        from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

        try:
            self._server = RendezvousHTTPServer((host, 0), RendezvousHandler, 0)
        except OSError:
            self._server = RendezvousHTTPServer(("", 0), RendezvousHandler, 0)
        self._server.daemon_threads = True
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


_OPENERS: dict[str, Callable[[str, Sequence[Topology]], HorovodServer | ReservedPort]] = {
    HOROVOD_SERVER: HorovodServer,
    RESERVED_PORT: lambda host, topologies: ReservedPort(),
}


def open_rendezvous(kind: str | None, host: str, topologies: Sequence[Topology]) -> HorovodServer | ReservedPort | None:
    """Open what `BackendSpec.rendezvous` names, in the task of rank 0; None where it names nothing.

    Parameters
    ----------
    kind : str or None
    host : str
        Address of this task that the others reach.
    places : sequence of Topology
        All ranks.
    """
    return None if kind is None else _OPENERS[kind](host, topologies)
