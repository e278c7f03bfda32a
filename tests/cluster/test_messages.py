"""Messages survive the wire; whatever else comes over it is refused and never becomes another class."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.cluster.messages import (
    EventRecord,
    IngestProgress,
    Message,
    MessageError,
    Offer,
    Raised,
    Returned,
    RunFunction,
    _fits,
    decode,
    encode,
    from_text,
    to_text,
)

TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
RECORDS = st.dictionaries(TEXT, JSON, max_size=3)
BYTES = st.binary(max_size=50)
MESSAGES = st.one_of(
    st.builds(EventRecord, record=RECORDS),
    st.builds(Returned, value=BYTES),
    st.builds(Raised, sentence=TEXT, traceback=TEXT, secondary=st.booleans(), error=BYTES),
    st.builds(
        RunFunction,
        function=TEXT,
        env=st.dictionaries(TEXT, TEXT, max_size=3),
        context=RECORDS,
        max_result_bytes=st.integers(0, 1 << 40),
        spool_secret=TEXT,
        spool_sources=st.lists(RECORDS, max_size=3),
        result_folder=BYTES,
        arguments=BYTES,
    ),
    st.builds(Offer, problem=TEXT, coordinator=st.none() | st.integers(1, 65535), spool_source=st.none() | RECORDS),
)


@given(message=MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode(*encode(message)) == message


@given(batches=st.integers(0, 1 << 40), done=st.booleans(), problem=TEXT)
def test_a_message_without_bytes_survives_as_text(batches: int, done: bool, problem: str) -> None:
    message = IngestProgress(batches, done, problem)
    assert from_text(to_text(message)) == message


def test_a_bootstrap_without_sparkdl_can_write_an_offer() -> None:
    assert from_text(json.dumps({"message": "Offer", "problem": "has no torch"})) == Offer(problem="has no torch")


@pytest.mark.parametrize(
    ("header", "blob"),
    [
        (b"", b""),
        (b"\xff", b""),
        (b"[]", b""),
        (b"{}", b""),
        (b"[" * 100_000, b""),
        (b'{"message": "Unknown"}', b""),
        (b'{"message": "Message", "x": 1}', b""),
        (b'{"message": ["Ready"]}', b""),
        (b'{"message": "Ready", "more": 1}', b""),
        (b'{"message": "Failed"}', b""),
        (b'{"message": "Ready"}', b"bytes"),
        (b'{"message": "Returned", "value": 5}', b"four"),
        (b'{"message": "Returned", "value": "x"}', b""),
        (b'{"message": "Returned", "value": true}', b"x"),
        (b'{"message": "Returned", "value": 1e999}', b""),
        (b'{"message": "SpoolBytes", "found": true, "data": -1}', b""),
        (b'{"message": "JoinControl", "rank": []}', b""),
        (b'{"message": "JoinControl", "rank": true}', b""),
        (b'{"message": "EventRecord", "record": [1]}', b""),
        (b'{"message": "Met", "texts": "abc"}', b""),
        (b'{"message": "Offer", "coordinator": "1"}', b""),
    ],
)
def test_what_is_no_message_is_refused(header: bytes, blob: bytes) -> None:
    with pytest.raises(MessageError, match="no message between ranks, tasks and driver"):
        decode(header, blob)


def test_the_type_of_every_field_is_known() -> None:
    for kind in Message.__subclasses__():
        for each in fields(kind):
            assert not _fits(object(), str(each.type)), (kind, each.name)


@given(value=JSON, blob=BYTES)
def test_any_json_is_a_message_or_refused(value: Any, blob: bytes) -> None:
    try:
        message = decode(json.dumps(value).encode(), blob)
    except MessageError:
        return
    assert isinstance(message, Message)
