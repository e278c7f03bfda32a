"""What a manifest in a file may say: every value is looked at before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from sparkdl.errors import DataError

_LARGEST = 1 << 62
_MOST_DIMENSIONS = 64

Check = Callable[[Any], bool]


def check_manifest(value: Any, formats: tuple[str, ...]) -> None:
    """Look at the plain values of a manifest.

    Parameters
    ----------
    value : object
        What JSON has become.
    formats : tuple of str
        What it may be a manifest of.

    Raises
    ------
    DataError
        One of them cannot be what its place asks for.
    """
    if not isinstance(value, dict):
        raise DataError(f"this manifest is damaged: expected an object, not {type(value).__name__}")
    checks: Mapping[str, Check] = {
        "url": _is_text,
        "schema": _list_of(_is_field),
        "files": _list_of(_is_file),
        "counts": lambda counts: _is_mapping(counts, _is_field_count),
        "format": lambda name: name in formats,
    }
    for name, fits in checks.items():
        if not fits(value.get(name, formats[0] if name == "format" else None)):
            raise DataError(f"this manifest is damaged: {name!r} is missing or has a value that it cannot have")


def is_below(path: Any) -> bool:
    """Whether this is a path below some folder: neither absolute nor with a way out."""
    if not _is_text(path) or not path or "\x00" in path or "\\" in path or "://" in path:
        return False
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_dimension(value: Any) -> bool:
    return type(value) is int and -1 <= value <= _LARGEST


def _or_null(fits: Check) -> Check:
    return lambda value: value is None or fits(value)


def _list_of(fits: Check, most: int | None = None) -> Check:
    return lambda value: (
        isinstance(value, list | tuple) and (most is None or len(value) <= most) and all(fits(item) for item in value)
    )


def _is_mapping(value: Any, fits: Check) -> bool:
    return isinstance(value, dict) and all(fits(item) for item in value.values())


def _is_constant(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and _is_text(value[0]) and _is_number(value[1])


def _made_of(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    checks = {**required, **optional}
    return lambda value: (
        isinstance(value, dict)
        and required.keys() <= value.keys() <= checks.keys()
        and all(checks[name](item) for name, item in value.items())
    )


_is_file = _made_of(
    {
        "path": is_below,
        "partition": _is_count,
        "sequence": _is_count,
        "row_groups": _list_of(_is_count),
        "bytes": _is_count,
    },
    {"host": _is_text, "checksum": _is_text, "constants": _list_of(_is_constant)},
)
_is_field = _made_of(
    {
        "name": _is_text,
        "role": _is_text,
        "kind": _is_text,
        "columns": _list_of(_is_text),
        "dtype": _is_text,
        "shape": _list_of(_is_dimension, _MOST_DIMENSIONS),
    },
    {"types": _list_of(_is_text), "entries": _or_null(_is_count), "sparse": lambda value: isinstance(value, bool)},
)
_is_field_count = _made_of(
    {},
    {
        "nulls": _is_count,
        "nans": _is_count,
        "shapes": lambda value: _is_mapping(value, _is_count),
        "minimum": _or_null(_is_number),
        "maximum": _or_null(_is_number),
        "classes": _or_null(lambda value: _is_mapping(value, _is_count)),
        "non_integers": _is_count,
        "undecodable": _is_count,
        "fraction": _or_null(_is_number),
        "class_weights": _or_null(lambda value: _is_mapping(value, _is_number)),
    },
)
