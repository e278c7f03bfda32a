"""The context of the rank that this process is, for code that is called without it (`log_to_driver`)."""

from __future__ import annotations

from sparkdl.cluster.job import RankContext

_current: RankContext | None = None


def enter(context: RankContext) -> None:
    """Say that this process is a rank."""
    global _current
    _current = context


def current() -> RankContext | None:
    """Return the context of this process, None outside a rank."""
    return _current
