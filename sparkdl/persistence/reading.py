"""What is read of a saved folder is checked before it is used, and whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparkdl.errors import PersistenceError, SparkDLError

_MOST_JSON = 16 << 20
"""Bytes; in memory JSON takes many times what it takes in a file."""

_MOST_SHOWN = 2000
_UID = re.compile(r"\w[\w.-]{0,199}")


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn whatever goes wrong while a stage is read into a `PersistenceError` that names its path."""
    try:
        yield
    except PersistenceError as error:
        raise PersistenceError(f"{path}: {_beginning(error)}") from error
    except SparkDLError as error:
        raise PersistenceError(f"{path}: what is saved there does not fit together: {_beginning(error)}") from error
    except Exception as error:
        raise PersistenceError(f"{path}: its metadata are damaged: {sentence(error)}") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    PersistenceError
        If there is none, or it is larger than any that we write.
    """
    if not path.is_file():
        raise PersistenceError(f"there is no file {path.name}")
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError(f"it has more than {_MOST_JSON:,} bytes")
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise PersistenceError(f"{path.name} is not JSON: {sentence(error)}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    PersistenceError
        If there is none.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise PersistenceError(f"{path.name} does not hold a JSON object")
    return value


def checked_uid(uid: Any) -> str:
    """Return a stage's uid, which becomes the name of a folder where stages are saved together.

    Raises
    ------
    PersistenceError
        If it is none.
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise PersistenceError(f"invalid uid={uid!r}: expected letters, digits, '_', and inside '-' and '.'")
    return uid


def sentence(error: Exception) -> str:
    """Return what an error says, with its kind if it is not one of ours."""
    return _beginning(error) if isinstance(error, PersistenceError) else f"{type(error).__name__}: {_beginning(error)}"


def _beginning(error: Exception) -> str:
    # It may hold much of a damaged file.
    text = str(error).strip()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
