"""Values of Params as short text, for people and for tracking stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sparkdl.errors import without_credentials
from sparkdl.params.choices import Choice
from sparkdl.params.secrets import Secret


def describe(value: Any) -> str:
    """Return one value as text that is the same in every process: no addresses in memory.

    Functions, classes and modules are called by their names; user names and passwords are taken out of URLs.
    """
    return _text(value)


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _text(value: Any) -> str:
    if isinstance(value, str):
        return without_credentials(value, one_url=True)
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Choice):
        return _text(value.value)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__}"
