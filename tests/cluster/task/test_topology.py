from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.cluster.task.topology import assign, coordinator_host, host_of, interface_towards


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_ranks_are_a_permutation_with_neighbours_on_one_host(hosts):
    places = assign(hosts)
    assert sorted(place.rank for place in places) == list(range(len(hosts)))
    assert places[0].rank == 0
    assert [place.host for place in places] == hosts
    by_rank = sorted(places, key=lambda place: place.rank)
    blocks = [a.host for a, b in zip(by_rank, [*by_rank[1:], None], strict=True) if b is None or a.host != b.host]
    assert len(blocks) == len(set(hosts))
    for host in set(hosts):
        local = sorted(place.local_rank for place in places if place.host == host)
        assert local == list(range(hosts.count(host)))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_places_are_those_of_horovods_own_launcher(slots):
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments

    theirs = get_host_assignments([HostInfo(f"h{i}", n) for i, n in enumerate(slots)], sum(slots))
    ours = assign([f"h{i}" for i, n in enumerate(slots) for _ in range(n)])
    names = ("rank", "size", "local_rank", "local_size", "cross_rank", "cross_size")
    assert [[getattr(p, n) for n in names] for p in ours] == [[getattr(p, n) for n in names] for p in theirs]


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.0.0.1:7077", "10.0.0.1"), ("host", "host"), ("[::1]:99", "::1"), ("::1", "::1"), ("a.b:1", "a.b")],
)
def test_host_of(address, host):
    assert host_of(address) == host


def test_ranks_of_one_host_meet_on_loopback():
    assert coordinator_host(["10.0.0.1", "10.0.0.1"]) == "127.0.0.1"
    assert coordinator_host(["10.0.0.1", "10.0.0.2"]) == "10.0.0.1"
    assert interface_towards(["h", "h"], "h") == "lo"


def test_interface_towards_another_host_is_one_of_this_machine():
    names = {name for _, name in socket.if_nameindex()}
    assert interface_towards(["here", "127.0.0.2"], "here") in {"lo"}
    assert interface_towards(["here", "192.0.2.77"], "here") in names | {None}
    assert interface_towards(["here", "no.such.host.invalid"], "here") is None
