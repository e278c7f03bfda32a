from __future__ import annotations

import socket

import pytest

from sparkdl.cluster.admission import Admission


@pytest.fixture
def pairs():
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def ended(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False


def test_the_oldest_makes_room_for_a_new_one(pairs):
    admission = Admission(limit=2)
    for ours, _ in pairs:
        admission.enter(ours)
    assert [ended(theirs) for _, theirs in pairs] == [True, False, False]
    assert [admission.leave(ours) for ours, _ in pairs] == [False, True, True]


def test_who_has_shown_the_secret_makes_room_for_nobody(pairs):
    admission = Admission(limit=1)
    admission.enter(pairs[0][0])
    assert admission.leave(pairs[0][0])
    admission.enter(pairs[1][0])
    assert not ended(pairs[0][1])


def test_all_have_one_deadline_from_their_start_on(pairs):
    now = [100.0]
    admission = Admission(seconds=10, clock=lambda: now[0])
    assert admission.enter(pairs[0][0]) == 110
    now[0] = 109
    assert admission.enter(pairs[1][0]) == 119
    admission.expire()
    now[0] = 110
    admission.expire()
    assert [ended(theirs) for _, theirs in pairs] == [True, False, False]


def test_one_that_is_closed_already_does_no_harm(pairs):
    admission = Admission(limit=1)
    admission.enter(pairs[0][0])
    pairs[0][0].close()
    admission.enter(pairs[1][0])
    assert admission.leave(pairs[1][0])


def test_none_outlives_its_server(pairs):
    admission = Admission()
    for ours, _ in pairs[:2]:
        admission.enter(ours)
    assert admission.leave(pairs[0][0])
    admission.close()
    assert [ended(theirs) for _, theirs in pairs] == [False, True, False]
