"""Small objects that hold values: partial functions, namespaces, dataclasses, named tuples and members of an Enum.

They are taken apart into plain values, and put together again without a call of anything of their class.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from functools import partial
from types import MemberDescriptorType, SimpleNamespace
from typing import Any, NamedTuple

from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.allowed import attribute_refusal, value_refusal
from sparkdl.network.registry import find, is_found, name_of, remedy

PARTIAL, NAMESPACE, DATACLASS, NAMED_TUPLE, MEMBER = "partial", "namespace", "dataclass", "named_tuple", "member"
KINDS = frozenset({PARTIAL, NAMESPACE, DATACLASS, NAMED_TUPLE, MEMBER})
WITH_CLASS = frozenset({DATACLASS, NAMED_TUPLE, MEMBER})


class Parts(NamedTuple):
    """What an object is made of: its kind, the name of its class where that matters, plain values."""

    kind: str
    cls: str
    content: Any


def parts_of(value: Any) -> Parts | str:
    """Return what an object is made of, or why it cannot be put together again; "" where it is of another kind."""
    cls = type(value)
    if cls is partial:
        return "it has attributes of its own" if vars(value) else _parts_of_partial(value)
    if cls is SimpleNamespace:
        return _checked(Parts(NAMESPACE, "", dict(vars(value))), cls)
    if isinstance(value, type) or not _kind_of(cls):
        return ""
    if not is_found(cls):
        return f"its class {cls.__qualname__} cannot be found by its name"
    reason = value_refusal(cls)
    if reason:
        return f"of the class {name_of(cls)}: {reason}"
    content: Any
    if isinstance(value, Enum):
        content = value.name if cls._member_map_.get(value.name) is value else None
        return Parts(MEMBER, name_of(cls), content) if content else "it is none of the members of its class"
    if isinstance(value, tuple):
        return Parts(NAMED_TUPLE, name_of(cls), list(value))
    state = {name: getattr(value, name) for name in _slots(cls) if hasattr(value, name)}
    return _checked(Parts(DATACLASS, name_of(cls), {**state, **getattr(value, "__dict__", {})}), cls)


def put_together(kind: str, name: Any, content: Any) -> Any:
    """Return the object of these parts.

    Raises
    ------
    NetworkError
        If a file may not make it, or the parts do not fit.
    """
    try:
        return _put_together(kind, value_class(name, kind) if kind in WITH_CLASS else None, content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise NetworkError(f"a description holds a {kind} whose parts do not fit: {error}") from error


def value_class(name: Any, kind: str) -> Any:
    """Return the class of a value by its name in a file.

    Raises
    ------
    NetworkError
        If this process does not know it, or a file may not name it.
    """
    found = find(str(name))
    if not isinstance(found, type) or _kind_of(found) != kind:
        raise NetworkError(f"the class {name} of a value is not known here: {remedy(str(name))}")
    reason = value_refusal(found)
    if reason:
        raise NetworkError(f"the class {name} of a value is refused: {reason}")
    return found


def _put_together(kind: str, cls: Any, content: Any) -> Any:
    if kind == PARTIAL:
        function, positional, named = content
        if not callable(function):
            raise TypeError("it is of nothing that can be called")
        return partial(function, *positional, **named)
    if kind == MEMBER:
        return cls._member_map_[content]
    if kind == NAMED_TUPLE:
        if len(content) != len(cls._fields):
            raise ValueError(f"{cls.__qualname__} has {len(cls._fields)} fields")
        return tuple.__new__(cls, content)
    made = SimpleNamespace() if kind == NAMESPACE else object.__new__(cls)
    slots = {} if kind == NAMESPACE else _slots(cls)
    found = _checked(Parts(kind, "", dict(content)), type(made))
    if isinstance(found, str):
        raise TypeError(found)
    for name, value in found.content.items():
        if name in slots:
            slots[name].__set__(made, value)
        else:
            made.__dict__[name] = value
    return made


def _parts_of_partial(value: partial[Any]) -> Parts:
    return Parts(PARTIAL, "", [value.func, list(value.args), dict(value.keywords)])


def _checked(parts: Parts, cls: type) -> Parts | str:
    """Return the parts, or why an instance may not have one of these attributes."""
    slots = {} if cls is SimpleNamespace else _slots(cls)
    for name in parts.content:
        reason = "" if name in slots else attribute_refusal(cls, name)
        if reason:
            return reason
    return parts


def _kind_of(cls: type) -> str:
    if issubclass(cls, Enum):
        return MEMBER
    if issubclass(cls, tuple) and cls is not tuple and isinstance(vars(cls).get("_fields"), tuple):
        return NAMED_TUPLE
    return DATACLASS if dataclasses.is_dataclass(cls) and not issubclass(cls, nn.Module) else ""


def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    """Return the places for attributes that a class has of itself, for the fields of a dataclass."""
    names = [field.name for field in dataclasses.fields(cls)]
    found = {name: next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None) for name in names}
    return {name: place for name, place in found.items() if isinstance(place, MemberDescriptorType)}
