"""Arguments that a user gives by name, such as moduleParams, compared with the signature of what takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sparkdl.errors import SettingError, did_you_mean

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_arguments(
    param: str,
    given: Mapping[str, Any],
    call: Callable[..., Any],
    *,
    label: str | None = None,
    placed: int = 0,
    filled: Collection[str] = (),
) -> None:
    """Refuse arguments that a class or a function does not take, and the lack of one that it needs.

    What has no signature to look at, or takes ``**kwargs``, is left to the call itself.

    Parameters
    ----------
    param : str
        The Param that holds the arguments.
    given : mapping
        The arguments.
    call : callable
        Who will get them.
    label : str, optional
        How the user calls it; its own name by default.
    placed : int
        How many arguments it gets by their place, in front of these.
    filled : collection of str
        Those that are filled in where the user does not give them.

    Raises
    ------
    SettingError
        Names the argument, and the one that was meant.
    """
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return
    label = label or name_of(call)
    for _ in range(placed):
        if parameters and parameters[0].kind in _BY_PLACE:
            del parameters[0]
    taken = [parameter for parameter in parameters if parameter.kind in _BY_NAME]
    names = [parameter.name for parameter in taken]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    unknown = None if takes_any else next((name for name in given if name not in names), None)
    if unknown is not None:
        there = f"it takes {', '.join(names)}" if names else "it takes none, so leave it out"
        hint = did_you_mean(unknown, names, there)
        raise SettingError(f"invalid {param} key {unknown!r}: {label} has no such argument, {hint}")
    lacking = next((p.name for p in taken if p.default is p.empty and p.name not in {*given, *filled}), None)
    if lacking is not None:
        raise SettingError(f"{param} lacks {lacking!r}: {label} cannot be called without it, add it")


def check_placed(param: str, call: Callable[..., Any], *places: str, given: Mapping[str, Any] | None = None) -> None:
    """Refuse a function that cannot be called with these arguments by their place.

    Parameters
    ----------
    param : str
        The Param that holds the function.
    call : callable
    *places : str
        What the arguments are called in the documents.
    given : mapping, optional
        Arguments by name that it gets as well.

    Raises
    ------
    SettingError
        Names the function and what it has to take.
    """
    try:
        inspect.signature(call).bind(*places, **(given or {}))
    except TypeError as error:
        raise SettingError(
            f"invalid {param}: {name_of(call)} has to take ({', '.join(places)}), and cannot: {error}"
        ) from None
    except ValueError:
        return


def name_of(call: Any) -> str:
    """Return the name of a class or a function as a user knows it."""
    return str(getattr(call, "__qualname__", type(call).__qualname__)).rpartition("<locals>.")[2]
