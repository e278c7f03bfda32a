"""Plain values as JSON and back: what moduleParams and the attributes of a network are made of.

JSON has no tuples, sets, dtypes or NaN: such a value becomes ``{"$": kind, "v": ...}``. Decoding makes plain values
only; classes are looked up and never imported, functions come from a fixed list.
"""

from __future__ import annotations

import math
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.allowed import network_class, refusal
from sparkdl.network.objects import KINDS, Parts, parts_of, put_together
from sparkdl.network.registry import is_found, name_of

FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """relu relu6 gelu elu celu selu silu mish glu leaky_relu rrelu prelu softplus softsign softmin softmax
        log_softmax tanh sigmoid logsigmoid hardtanh hardswish hardsigmoid hardshrink softshrink tanhshrink threshold
        sin cos exp log log1p sqrt rsqrt abs square dropout normalize layer_norm max_pool1d max_pool2d avg_pool1d
        avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d flatten mean sum
        max min cat""",
    )
)
"""Names in torch.nn.functional and torch that a description may refer to: functions of tensors without side effects."""

Special = Callable[[Any, str], Any]
"""Encodes what only the caller can (tensors, modules), or returns NotImplemented."""

_SEQUENCES: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset", torch.Size: "size"}
_MAKERS: dict[str, type] = {name: kind for kind, name in _SEQUENCES.items()}


_HASHED = ("set", "frozenset")
_OWN_HASH = sys.hash_info.modulus
_MOST_OTHER_KEYS = 1_000
"""In one dict: a thousand keys with equal hashes take some hundredths of a second."""


class UndescribableError(NetworkError):
    """A value has no JSON form; the message says where it stands."""


def encode(value: Any, place: str, special: Special | None = None) -> Any:
    """Return the JSON form of a value.

    Parameters
    ----------
    value : object
        None, bool, int, float, str, list, tuple, set, dict, torch.Size, torch.dtype, torch.device, slice, a class of
        networks, a function of `FUNCTIONS`, or an object of `objects.KINDS`, nested as one likes.
    place : str
        Where it stands, for the error.
    special : callable, optional
        Asked first.

    Raises
    ------
    UndescribableError
        Names the place.
    """
    if special is not None:
        answer = special(value, place)
        if answer is not NotImplemented:
            return answer
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
    if kind is list:
        return [encode(item, f"{place}[{i}]", special) for i, item in enumerate(value)]
    if kind in _SEQUENCES:
        items = sorted(value, key=repr) if kind in (set, frozenset) else value
        return _tagged(_SEQUENCES[kind], [encode(item, f"{place}[{i}]", special) for i, item in enumerate(items)])
    if kind in (dict, OrderedDict):
        return _encode_mapping(value, place, special)
    parts = parts_of(value)
    if isinstance(parts, Parts):
        named = {"class": parts.cls} if parts.cls else {}
        return {"$": parts.kind, **named, "v": encode(parts.content, place, special)}
    if parts:
        raise UndescribableError(f"{place} holds {_short(value)}: {parts}")
    return _encode_torch(value, place)


def decode(value: Any, special: Callable[[str, dict[str, Any]], Any] | None = None) -> Any:
    """Return the value that `encode` has written; `special` is asked about kinds that are not known here.

    Raises
    ------
    NetworkError
        If a kind is unknown, or a class is not known to this process.
    """
    if isinstance(value, list):
        return [decode(item, special) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: decode(item, special) for key, item in value.items()}
    kind, body = value["$"], value.get("v")
    if kind in _MAKERS:
        items = [decode(item, special) for item in body or ()]
        if kind in _HASHED:
            _check_keys(items)
        return _MAKERS[kind](items)
    if kind in ("dict", "ordered"):
        pairs = [(decode(key, special), decode(item, special)) for key, item in body or ()]
        _check_keys([key for key, _ in pairs])
        return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
    if kind in KINDS:
        return put_together(kind, value.get("class"), decode(body, special))
    if kind in _LEAVES and isinstance(body, str):
        return _LEAVES[kind](body)
    if kind == "slice":
        return slice(*(decode(item, special) for item in body or ()))
    if special is not None:
        return special(kind, value)
    raise NetworkError(f"a description holds a value of the unknown kind {kind!r}: it was written by a later sparkdl")


def _check_keys(keys: Sequence[Any]) -> None:
    """Refuse keys that are made to have equal hashes: a dict of many of them takes forever."""
    # Python's hash of a text is not known outside of the process, that of a small number is the number itself.
    others = sum(not isinstance(key, str) and not (type(key) is int and abs(key) < _OWN_HASH) for key in keys)
    if others > _MOST_OTHER_KEYS:
        raise NetworkError(f"a description holds {others:,} keys of a kind that {_MOST_OTHER_KEYS} are allowed of")


def _tagged(kind: str, body: Any) -> dict[str, Any]:
    return {"$": kind, "v": body}


def _encode_mapping(value: dict[Any, Any], place: str, special: Special | None) -> Any:
    plain = type(value) is dict and all(type(key) is str for key in value) and "$" not in value
    if plain:
        return {key: encode(item, f"{place}.{key}", special) for key, item in value.items()}
    pairs = [[encode(k, place, special), encode(v, f"{place}.{k}", special)] for k, v in value.items()]
    return _tagged("dict" if type(value) is dict else "ordered", pairs)


def _encode_torch(value: Any, place: str) -> Any:
    if isinstance(value, torch.dtype):
        return _tagged("dtype", str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return _tagged("device", str(value))
    if isinstance(value, slice):
        return _tagged("slice", [encode(part, place) for part in (value.start, value.stop, value.step)])
    if isinstance(value, type) and issubclass(value, nn.Module) and is_found(value):
        return _encode_class(value, place)
    if callable(value):
        for space in ("torch.nn.functional", "torch"):
            name = getattr(value, "__name__", "")
            if name in FUNCTIONS and getattr(_space(space), name, None) is value:
                return _tagged("function", f"{space}.{name}")
    raise UndescribableError(f"{place} holds {_short(value)}, which JSON cannot describe")


def _encode_class(cls: type, place: str) -> Any:
    reason = refusal(cls, called=True)
    if reason:
        raise UndescribableError(f"{place} holds the class {name_of(cls)}: {reason}")
    return _tagged("class", name_of(cls))


def _short(value: Any) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    name = getattr(value, "__qualname__", None)
    return f"the {kind} {name}" if isinstance(name, str) else f"a {kind}"


def _space(name: str) -> Any:
    return nn.functional if name == "torch.nn.functional" else torch


def _function(name: str) -> Any:
    space, _, function = name.rpartition(".")
    if function not in FUNCTIONS or space not in ("torch", "torch.nn.functional"):
        raise NetworkError(f"a description refers to the function {name!r}, which is not among those that may be used")
    return getattr(_space(space), function)


def _dtype(name: str) -> torch.dtype:
    found = vars(torch).get(name)
    if not isinstance(found, torch.dtype):
        raise NetworkError(f"a description holds {name!r} where a torch.dtype is expected")
    return found


_LEAVES: dict[str, Callable[[str], Any]] = {
    "float": float,
    "dtype": _dtype,
    "device": torch.device,
    "class": partial(network_class, called=True),
    "function": _function,
}
