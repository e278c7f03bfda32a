"""Params as short text for a tracking store: what a value is called, and nothing secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkdl.params.shown import describe, shorten

SECRET = frozenset({"storageOptions"})
"""Params that are never written anywhere."""

MAX_VALUE = 500
"""Characters of a value; the smallest limit among MLflow's stores."""


def as_text(params: Mapping[str, Any]) -> dict[str, str]:
    """Return Params as text: without those that are unset (None) or secret, long values cut."""
    return {
        name: shorten(describe(value), MAX_VALUE)
        for name, value in params.items()
        if value is not None and name not in SECRET
    }
