from __future__ import annotations

import queue
import threading
import time

import pytest

from sparkdl.cluster.driver.event_server import EventServer
from sparkdl.cluster.task.barrier_sync import meet

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server():
    with EventServer("127.0.0.1", "secret", queue.Queue(), 3) as server:
        yield server


def in_threads(server, tasks, timeout=20.0):
    results = {}

    def one(task):
        try:
            results[task] = meet(("127.0.0.1", server.port), "secret", task, f"offer {task}", timeout)
        except OSError as error:
            results[task] = error

    threads = [threading.Thread(target=one, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    return threads, results


def test_all_leave_with_the_offers_of_all_in_their_order(server):
    threads, results = in_threads(server, [2, 0, 1])
    for thread in threads:
        thread.join(30)
    assert results == {task: ["offer 0", "offer 1", "offer 2"] for task in range(3)}
    assert server.idle


def test_who_does_not_come_is_waited_for_only_so_long(server):
    threads, results = in_threads(server, [0, 1], timeout=0.5)
    for thread in threads:
        thread.join(30)
    assert {type(result) for result in results.values()} == {TimeoutError}
    assert "did not meet within 0.5 s" in str(results[0])


def test_the_end_of_the_job_lets_go_of_those_who_wait():
    with EventServer("127.0.0.1", "secret", queue.Queue(), 2) as server:
        threads, results = in_threads(server, [1])
        time.sleep(0.5)
    threads[0].join(30)
    assert "ended the job" in str(results[1])


def test_a_stranger_is_not_let_in(server):
    with pytest.raises(ConnectionError, match="does not know the secret|closed the connection"):
        meet(("127.0.0.1", server.port), "another", 0, "offer", 5)


def test_meetings_follow_each_other_and_the_old_ones_are_forgotten(server):
    results = {}

    def one(task):
        results[task] = [
            meet(("127.0.0.1", server.port), "secret", task, f"{task} at {number}", 20.0, number)
            for number in range(20)
        ]

    threads = [threading.Thread(target=one, args=(task,)) for task in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    expected = [[f"{task} at {number}" for task in range(3)] for number in range(20)]
    assert results == dict.fromkeys(range(3), expected)
    assert len(server._meeting._offers) <= 2
