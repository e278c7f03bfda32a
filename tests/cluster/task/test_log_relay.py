from __future__ import annotations

import os
import queue
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from sparkdl.cluster.task.log_relay import LogTail, Relay


def relay(*chunks: bytes) -> list[str]:
    read, write = os.pipe()
    lines: list[str] = []
    running = Relay(read, lines.append)
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(write, view) :]
    os.close(write)
    running.join(30)
    return lines


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=10))
def test_lines_are_those_of_the_whole_however_it_was_cut(chunks):
    whole = b"".join(chunks).decode("utf-8", errors="surrogateescape")
    expected = whole.split("\n")
    if expected[-1] == "":
        expected.pop()
    given_back = relay(*(chunk for chunk in chunks if chunk))
    assert given_back == [
        shown(line.encode("utf-8", errors="surrogateescape")).decode("utf-8", errors="replace") for line in expected
    ]


def shown(line: bytes) -> bytes:
    """What a terminal shows of a line: its last state."""
    *before, last = line.split(b"\r")
    return next((state for state in (last, *reversed(before)) if state.strip()), last)


def test_a_line_of_megabytes_is_not_cut_and_a_last_line_needs_no_newline():
    long = b"x" * 3_000_000
    assert relay(b"a\n", long + b"\n", b"end") == ["a", long.decode(), "end"]


def test_bytes_that_are_no_text_do_not_stop_it():
    assert relay(b"\xff\xfe\nnext\n") == ["��", "next"]


def test_tail_keeps_the_last_hundred_lines():
    tail = LogTail()
    for number in range(250):
        tail.add(str(number))
    assert tail.text().split("\n") == [str(number) for number in range(150, 250)]


def test_tail_is_bounded_in_bytes_and_keeps_the_end():
    tail = LogTail()
    for letter in "abc":
        tail.add(letter * 200_000)
    tail.add("d" * 1_000_000)
    assert tail.text() == "d" * (256 << 10)


def test_a_progress_bar_is_heard_while_it_goes_on_and_its_last_state_is_the_line():
    read, write = os.pipe()
    lines: list[str] = []
    updates: queue.Queue[str] = queue.Queue()
    running = Relay(read, lines.append, updates.put, interval=0.05)
    os.write(write, b"before\n\r 10%")
    assert updates.get(timeout=30) == " 10%"
    os.write(write, b"\r 20%\r 30%")
    assert updates.get(timeout=30) == " 30%"
    os.write(write, b"\r100%\nafter\r\n")
    os.close(write)
    running.join(30)
    assert lines == ["before", "100%", "after"]


def test_a_progress_bar_neither_floods_nor_fills_the_memory():
    updates: list[str] = []
    read, write = os.pipe()
    lines: list[str] = []
    running = Relay(read, lines.append, updates.append, interval=1000)
    state = b"\r" + b"#" * 1000
    tracemalloc.start()
    for _ in range(20_000):
        os.write(write, state)
    os.close(write)
    running.join(30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (lines, updates) == (["#" * 1000], [])
    assert peak < 2 << 20


def test_a_line_without_end_is_heard_in_parts():
    whole = b"x" * (40 << 20)
    lines = relay(whole)
    assert len(lines) == 3
    assert "".join(lines).encode() == whole


def test_what_a_callback_raises_does_not_end_the_relay(caplog):
    heard: list[str] = []

    def refuse(line: str) -> None:
        heard.append(line)
        raise ValueError("no")

    read, write = os.pipe()
    running = Relay(read, refuse, refuse)
    # More than a pipe holds: nobody can write it all where nobody reads.
    for _ in range(100):
        os.write(write, b"x" * 4000 + b"\n")
    os.close(write)
    running.join(30)
    assert heard == ["x" * 4000] * 100
    assert [record.message for record in caplog.records] == ["what a rank wrote was not passed on: ValueError('no')"]
