"""The call of the user's function: its arguments, and the defaults of the backend for a loop of the user's own."""

from __future__ import annotations

import os

import pytest

from sparkdl.cluster.job import RankContext
from sparkdl.cluster.rank.user_main import call


def context(backend: str) -> RankContext:
    return RankContext(0, 1, 0, 1, backend, "cpu", 1, emit=lambda record: None)


@pytest.mark.parametrize(
    ("backend", "present", "seen"), [("horovod", None, "0.3"), ("horovod", "2", "2"), ("torch", None, None)]
)
def test_what_the_user_has_set_wins(
    monkeypatch: pytest.MonkeyPatch, backend: str, present: str | None, seen: str | None
) -> None:
    monkeypatch.delenv("HOROVOD_CYCLE_TIME", raising=False)
    if present is not None:
        monkeypatch.setenv("HOROVOD_CYCLE_TIME", present)
    assert call(context(backend), lambda: os.environ.get("HOROVOD_CYCLE_TIME"), {}) == seen


def test_the_context_comes_first_where_it_is_asked_for() -> None:
    given = call(context("local"), lambda *all_, **named: (all_, named), {"c": 3}, [1, 2], pass_context=True)
    assert given[0][0].size == 1
    assert (given[0][1:], given[1]) == ((1, 2), {"c": 3})
