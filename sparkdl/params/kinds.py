"""What a Param takes: a check that returns the value in its own form, the words for it, and its type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

from sparkdl.errors import one_of as listed

NAMED = "str | type | Callable[..., Any]"
"""Type of what has a name in a library, or is a class or a function of the user's."""


class WrongObjectError(TypeError):
    """A value of a type that is never taken; its text ends the sentence, and says what to give instead."""


@dataclass(frozen=True)
class Kind:
    """The values that a Param takes.

    Attributes
    ----------
    annotation : str
        Their type, as it stands in the stubs.
    needs : str
        Their description, which ends the sentence "invalid epochs=0: expected ...".
    accept : callable
        Returns the value in its own form (idempotent); raises TypeError or ValueError.
    """

    annotation: str
    needs: str
    accept: Callable[[Any], Any]


def whole(minimum: int | None = None, *, besides: int | None = None) -> Kind:
    """Whole numbers of `minimum` or more, and `besides`."""
    needs = "an integer" if minimum is None else f"an integer >= {minimum}"
    if besides is not None:
        needs = f"{besides}, or {needs}"
    return Kind("int", needs, partial(_whole, minimum, besides))


def number(above: float | None = None, *, minimum: float | None = None, below: float | None = None) -> Kind:
    """Finite numbers: greater than `above`, `minimum` or more, less than `below`."""
    bounds = {">": above, ">=": minimum, "<": below}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    return Kind("float", f"a finite number {words}".rstrip(), partial(_number, above, minimum, below))


def flag() -> Kind:
    """True or False."""
    return Kind("bool", "True or False", _flag)


def column(*, may_be_empty: bool = False) -> Kind:
    """The name of one column."""
    needs = 'the name of a column, or "" for none' if may_be_empty else "the name of a column"
    return Kind("str", needs, partial(_text, may_be_empty))


def columns(*, may_be_empty: bool = False) -> Kind:
    """The names of one or more columns, each different."""
    needs = 'a list of different column names ("" for none)' if may_be_empty else "a list of different column names"
    return Kind("list[str]", needs, partial(_columns, may_be_empty))


def text() -> Kind:
    """Text that is not empty."""
    return Kind("str", "a text that is not empty", partial(_text, False))


def one_of(*choices: str) -> Kind:
    """One of a few words."""
    return Kind("str", listed(choices), partial(_choice, choices))


def switch() -> Kind:
    """The words "auto", "true" and "false", or True and False."""
    return Kind("str | bool", "'auto', 'true' or 'false'", _switch)


def level(highest: int) -> Kind:
    """A whole number from 0 to `highest`."""
    return Kind("int", f"an integer from 0 to {highest}", partial(_level, highest))


def options() -> Kind:
    """Arguments by name."""
    return Kind("dict[str, Any]", "a dict with names as keys", _options)


def flag_or_options() -> Kind:
    """True or False, or arguments by name."""
    return Kind("bool | dict[str, Any]", "True, False, or a dict with names as keys", _flag_or_options)


def amounts() -> Kind:
    """How much of each thing: positive numbers by name."""
    return Kind("dict[str, float]", "a dict from names to numbers > 0", _amounts)


def options_for_each() -> Kind:
    """Arguments by name, or a list of such dicts."""
    return Kind(
        "dict[str, Any] | list[dict[str, Any]]",
        "a dict with names as keys, or a list of such dicts, one for each label",
        _options_for_each,
    )


def words() -> Kind:
    """A column to add for each name."""
    return Kind("dict[str, str]", "a dict from names to the names of columns", _words)


def named(what: str) -> Kind:
    """A name, a class or a function."""
    return Kind(NAMED, f"{what}, given as its name, its class or a function", _named)


def named_or_each(what: str) -> Kind:
    """A name, a class or a function; or a list of them."""
    return Kind(
        f"{NAMED} | list[{NAMED}]",
        f"{what}, given as its name, its class or a function, or a list of such, one for each label",
        _named_or_each,
    )


def named_list(what: str) -> Kind:
    """A list of names and functions; one alone is taken as such a list."""
    return Kind(
        "list[str | Callable[..., Any]]", f"a list of {what}, each given as its name or a function", _named_list
    )


def network() -> Kind:
    """A name in `sparkdl.nn`, a module, a class or a function."""
    return Kind(
        "str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module]",
        "a network: a name in sparkdl.nn, an nn.Module, its class, or a function that returns one",
        _named,
    )


def numbers(minimum: float | None = None) -> Kind:
    """A list of finite numbers."""
    each = "finite numbers" if minimum is None else f"finite numbers >= {minimum:g}"
    return Kind("list[float]", f"a list of {each}", partial(_numbers, minimum))


def thresholds() -> Kind:
    """Spark's thresholds: non-negative, at most one of them 0."""
    return Kind("list[float]", "a list of numbers >= 0, at most one of them 0", _thresholds)


def class_weights() -> Kind:
    """A weight for each class, or "balanced"."""
    return Kind(
        'list[float] | Literal["balanced"]',
        "'balanced', or a list of numbers >= 0, one for each class, not all 0",
        _class_weights,
    )


def callbacks() -> Kind:
    """Instances of `sparkdl.train.Callback`."""
    return Kind("list[Callback]", "a list of sparkdl.train.Callback instances", _callbacks)


def _whole(minimum: int | None, besides: int | None, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    # A whole float is what JSON from another language holds; a large integer must not pass through a float.
    accepted = int(value) if isinstance(value, Integral) else int(float(value))
    if accepted != value or (minimum is not None and accepted < minimum and accepted != besides):
        raise ValueError
    return accepted


def _number(above: float | None, minimum: float | None, below: float | None, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    accepted = float(value)
    too_small = (above is not None and accepted <= above) or (minimum is not None and accepted < minimum)
    if not math.isfinite(accepted) or too_small or (below is not None and accepted >= below):
        raise ValueError
    return accepted


def _flag(value: Any) -> bool:
    # numpy's bool is what a pandas grid of settings holds.
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise TypeError
    return bool(value)


def _text(may_be_empty: bool, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value and not may_be_empty:
        raise ValueError
    return str(value)


def _columns(may_be_empty: bool, value: Any) -> list[str]:
    names = [_text(may_be_empty, name) for name in _items(value)]
    filled = [name for name in names if name]
    if not names or len(set(filled)) != len(filled):
        raise ValueError
    return names


def _choice(choices: tuple[str, ...], value: Any) -> str:
    if value not in choices:
        raise ValueError
    return str(value)


def _switch(value: Any) -> str:
    return _choice(("auto", "true", "false"), str(value).lower() if isinstance(value, bool) else value)


def _level(highest: int, value: Any) -> int:
    accepted = _whole(0, None, int(value) if isinstance(value, bool) else value)
    if accepted > highest:
        raise ValueError
    return accepted


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return dict(value)


def _flag_or_options(value: Any) -> bool | dict[str, Any]:
    return _options(value) if isinstance(value, Mapping) else _flag(value)


def _amounts(value: Any) -> dict[str, float]:
    return {key: _number(0.0, None, None, amount) for key, amount in _options(value).items()}


def _options_for_each(value: Any) -> dict[str, Any] | list[dict[str, Any]]:
    return _options(value) if isinstance(value, Mapping) else [_options(each) for each in _items(value)]


def _words(value: Any) -> dict[str, str]:
    return {key: _text(False, name) for key, name in _options(value).items()}


def _named(value: Any) -> Any:
    if isinstance(value, str):
        return _text(False, value)
    if not callable(value):
        raise WrongObjectError(_instead_of(value)) if hasattr(value, "state_dict") else TypeError
    return value


def _instead_of(value: Any) -> str:
    """Say how an optimizer or a schedule is given, instead of one that is tied to parameters of its own."""
    kind = type(value).__name__
    if not hasattr(value, "param_groups"):
        return f"give its class or name {kind!r}, and its arguments by lrScheduleParams"
    rate = getattr(value, "defaults", {}).get("lr")
    given = f", learningRate={rate:g}" if isinstance(rate, (int, float)) else ""
    return f"give optimizer={kind.lower()!r}{given}, and other arguments by optimizerParams"


def _named_or_each(value: Any) -> Any:
    return [_named(each) for each in value] if isinstance(value, (list, tuple)) else _named(value)


def _named_list(value: Any) -> list[Any]:
    return [_named(each) for each in value] if isinstance(value, (list, tuple)) else [_named(value)]


def _numbers(minimum: float | None, value: Any) -> list[float]:
    return [_number(None, minimum, None, each) for each in _items(value)]


def _thresholds(value: Any) -> list[float]:
    accepted = _numbers(0.0, value)
    if not accepted or accepted.count(0.0) > 1:
        raise ValueError
    return accepted


def _class_weights(value: Any) -> list[float] | str:
    if isinstance(value, str):
        return _choice(("balanced",), value)
    accepted = _numbers(0.0, value)
    if not any(accepted):
        raise ValueError
    return accepted


def _callbacks(value: Any) -> list[Any]:
    accepted = _items(value)
    if any(isinstance(each, type) or not hasattr(each, "on_epoch_end") for each in accepted):
        raise TypeError
    return accepted


def _items(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError
    return list(value)
