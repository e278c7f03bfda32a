"""Params as short text for a tracking store: what a value is called, and nothing secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

SECRET = frozenset({"storageOptions"})
"""Params that are never written anywhere."""

MAX_VALUE = 500
"""Characters of a value; the smallest limit among MLflow's stores."""

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def as_text(params: Mapping[str, Any]) -> dict[str, str]:
    """Return Params as text: without those that are unset (None) or secret, long values cut.

    Functions, classes and modules are called by their names; user names and passwords are taken out of URLs.
    """
    return {
        name: _shorten(_CREDENTIALS.sub("***@", describe(value)))
        for name, value in params.items()
        if value is not None and name not in SECRET
    }


def describe(value: Any) -> str:
    """Return one value as text that is the same in every process: no addresses in memory."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ", ".join(describe(item) for item in value) + "]"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."
