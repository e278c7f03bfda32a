"""Values in a ParamMap that others may write down: a tracking store, a log, whoever calls ``extractParamMap``."""

from __future__ import annotations

from typing import Any

from sparkdl.errors import HIDDEN, without_credentials


class Secret:
    """A value whose text is not its own, and which nobody can iterate over.

    Autologging writes what ``getOrDefault`` returns of every Param, by ``str`` or as JSON. `reveal` is for who uses it.

    Parameters
    ----------
    value : object
    shown : str
        Its text.
    """

    __slots__ = ("_shown", "_value")

    def __init__(self, value: Any, shown: str) -> None:
        self._value = value
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown

    def __eq__(self, other: object) -> bool:
        return bool(self._value == reveal(other))

    def __hash__(self) -> int:
        return hash(Secret)


def reveal(value: Any) -> Any:
    """Return a value itself, whether it is secret or not."""
    return value._value if isinstance(value, Secret) else value


def concealed(value: Any, secret: bool) -> Any:
    """Return what a ParamMap holds of a value: a `Secret` where it is one, or has a URL with a password in it."""
    if secret and value:
        return Secret(value, HIDDEN)
    if isinstance(value, str) and (shown := without_credentials(value, one_url=True)) != value:
        return Secret(value, shown)
    return Secret(value, HIDDEN) if _holds_credentials(value) else value


def _holds_credentials(value: Any) -> bool:
    if isinstance(value, str):
        return without_credentials(value, one_url=True) != value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(map(_holds_credentials, items))
