"""The parts of a model's metadata, checked value by value: what a file says becomes sizes, names and types here."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch

from sparkdl.data.types import TYPES
from sparkdl.errors import PersistenceError
from sparkdl.schema import INPUT, DataSchema, Field

_KINDS = tuple(TYPES)
_MOST = (1 << 31) - 1
"""Numbers of a row: as many as an Arrow list can hold."""
_MOST_DIMENSIONS = 64


def checked_schema(value: Any) -> DataSchema:
    """Return the schema of a model's inputs.

    Raises
    ------
    PersistenceError
        If a field of it cannot be one.
    """
    if not isinstance(value, list) or not all(_is_field(item) for item in value):
        raise PersistenceError("its schema is damaged")
    return DataSchema.from_json(value)


def checked_shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a network's outputs, of one row each.

    Raises
    ------
    PersistenceError
        If one of them cannot be one.
    """
    if not isinstance(value, list) or not all(_is_shape(item, 0) for item in value):
        raise PersistenceError("the shapes of its outputs are damaged")
    return tuple(tuple(shape) for shape in value)


def checked_history(value: Any) -> list[dict[str, float]]:
    """Return what was measured, a dict for each epoch.

    Raises
    ------
    PersistenceError
        If it holds anything but numbers by name.
    """
    rows = value if isinstance(value, list) else [None]
    if not all(isinstance(row, dict) and _are_texts(list(row)) and all(map(_is_number, row.values())) for row in rows):
        raise PersistenceError("its history is damaged")
    return list(rows)


def checked_extra(value: Any) -> dict[str, Any]:
    """Return what a task has added: classes, their labels, the best epoch, the zone, what was put in place of nulls.

    Raises
    ------
    PersistenceError
        If one of these has a value that cannot be its own.
    """
    if not isinstance(value, dict):
        raise PersistenceError("what it says of its task is damaged")
    labels, classes = value.get("labels", []), value.get("num_classes", 2)
    numbers = [value[name] for name in ("fill_value", "pad_value") if value.get(name) is not None]
    best = value.get("best_epoch")
    fits = _are_texts([*labels, value.get("time_zone", "")]) if isinstance(labels, list) else False
    fits = fits and _is_count(classes, 1) and (best is None or _is_count(best, 0))
    if not fits or not all(_is_number(number) for number in numbers):
        raise PersistenceError("what it says of its task is damaged")
    return value


def _is_field(value: Any) -> bool:
    if not isinstance(value, dict) or not {field.name for field in fields(Field)}.issuperset(value):
        return False
    columns, types, entries = value.get("columns"), value.get("types", []), value.get("entries")
    return (
        isinstance(value.get("name"), str)
        and value.get("role") == INPUT
        and value.get("kind") in _KINDS
        and _are_texts(columns)
        and bool(columns)
        and isinstance(value.get("dtype"), str)
        and isinstance(vars(torch).get(value["dtype"]), torch.dtype)
        and _is_shape(value.get("shape"), -1)
        and _are_texts(types)
        and (entries is None or _is_count(entries, 0))
        and isinstance(value.get("sparse", False), bool)
    )


def _is_shape(value: Any, least: int) -> bool:
    fits = isinstance(value, list) and len(value) <= _MOST_DIMENSIONS and all(_is_count(n, least) for n in value)
    return fits and abs(math.prod(value)) <= _MOST


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= _MOST


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
