"""Which task is which rank, and how the ranks reach each other. Pure but for the look at this host's interfaces."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_SIOCGIFADDR = 0x8915


@dataclass(frozen=True)
class Topology:
    """One rank among all.

    Attributes
    ----------
    rank, size : int
    local_rank, local_size : int
        Among the ranks of its host.
    cross_rank, cross_size : int
        Among the ranks with the same local rank.
    host : str
        Address of its host as Spark's barrier task infos have it.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int
    host: str


def assign(hosts: Sequence[str]) -> list[Topology]:
    """Return the topology of each task, in the order of the tasks.

    Ranks of one host are neighbours, as Horovod's hierarchical operations expect; task 0 is rank 0 and has the
    coordinator.
    """
    by_host: dict[str, list[int]] = {}
    for task, host in enumerate(hosts):
        by_host.setdefault(host, []).append(task)
    topologies: dict[int, Topology] = {}
    groups = list(by_host.items())
    rank = 0
    for group, (host, tasks) in enumerate(groups):
        for local_rank, task in enumerate(tasks):
            peers = [number for number, (_, others) in enumerate(groups) if len(others) > local_rank]
            topologies[task] = Topology(
                rank=rank,
                size=len(hosts),
                local_rank=local_rank,
                local_size=len(tasks),
                cross_rank=peers.index(group),
                cross_size=len(peers),
                host=host,
            )
            rank += 1
    return [topologies[task] for task in range(len(hosts))]


def host_of(address: str) -> str:
    """Return the host of "host:port", also of "[::1]:port" and of a host alone."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, _ = address.rpartition(":")
    return host if colon and ":" not in host else address


def coordinator_host(hosts: Sequence[str]) -> str:
    """Return the address of task 0 at which every task reaches it: loopback where all share one host."""
    return "127.0.0.1" if len(set(hosts)) == 1 else hosts[0]


def interface_towards(hosts: Sequence[str], own: str) -> str | None:
    """Return the name of this host's network interface that leads to the other ranks; None if it cannot be told."""
    others = [host for host in hosts if host != own]
    if not others:
        address = "127.0.0.1"
    else:
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(others[0], 9, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                # Connecting a datagram socket sends nothing, it only asks the routing table.
                probe.connect(target)
                address = probe.getsockname()[0]
        except OSError:
            return None
    return _interface_with(address)


def _interface_with(address: str) -> str | None:
    if ipaddress.ip_address(address).version != 4:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
