"""Work that is started before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.scoring.ahead import started_ahead


@given(st.integers(0, 9), st.integers(0, 3))
def test_items_come_in_order_and_so_many_are_started_ahead(items: int, ahead: int) -> None:
    started: list[int] = []
    got = []
    for item in started_ahead(iter(range(items)), lambda item: (started.append(item), item)[1], ahead):
        got.append(item)
        assert len(started) == min(items, len(got) + ahead)
    assert got == started == list(range(items))


@pytest.mark.parametrize("left", [True, False], ids=["left", "failing"])
def test_the_source_is_closed(left: bool) -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            closed.append(True)

    work = started_ahead(source(), (lambda item: item) if left else (lambda item: 1 // (item - 2)), 1)
    assert next(work) in (0, -1)
    if left:
        work.close()
    else:
        with pytest.raises(ZeroDivisionError):
            list(work)
    assert closed == [True]
