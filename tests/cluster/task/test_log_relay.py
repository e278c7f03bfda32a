from __future__ import annotations

import os

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
        line.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace") for line in expected
    ]


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
