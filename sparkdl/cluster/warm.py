"""The warm server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparkdl.cluster.process import RankProcess


def start_warm(env: Mapping[str, str], path: Sequence[str], backend: str) -> RankProcess | None:
    """Return a rank forked from the warm server, None where that is not possible."""
    return None
