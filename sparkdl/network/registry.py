"""Finding classes and functions by name without importing anything: what was registered, and what this process has.

A name is ``module:qualified.name``. A name that comes from a file never makes Python import a module, nor run a
module's ``__getattr__``: only dictionaries of modules and classes that exist already are looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sparkdl.errors import SettingError

T = TypeVar("T", bound=Callable[..., Any])

CALLBACK = "sparkdl.train.callbacks:Callback"
"""The base of callbacks, which this package does not import."""

_KINDS = (nn.Module, Optimizer, LRScheduler)
_REGISTERED: dict[str, Any] = {}


def register(cls: T) -> T:
    """Make a network known by its name, so that saved stages that use it can be loaded; also as a decorator.

    Parameters
    ----------
    cls : class or function
        A subclass of ``nn.Module``, or what else a saved stage may refer to: an optimizer, a schedule, a callback, or a
        named function (a loss, a metric). A saved stage may call it with any arguments. Or a class of values that a
        network holds: a dataclass, a NamedTuple or an Enum, whose instances are made without a call.

    Returns
    -------
    class or function
        The same object.

    Raises
    ------
    SettingError
        If it is neither.
    """
    is_class = isinstance(cls, type) and (issubclass(cls, _KINDS) or is_callback(cls) or _holds_values(cls))
    is_function = isinstance(cls, FunctionType) and cls.__name__ != "<lambda>"
    if not (is_class or is_function):
        raise SettingError(
            f"register({cls!r}): only named functions and subclasses of nn.Module, Optimizer, LRScheduler, Callback "
            "and Enum, dataclasses and named tuples can be registered; register the class and not an instance of it"
        )
    _REGISTERED[name_of(cls)] = cls
    return cls


def _holds_values(cls: type) -> bool:
    return is_dataclass(cls) or issubclass(cls, Enum) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def is_callback(cls: type) -> bool:
    """Tell whether a class is one of callbacks."""
    return any(name_of(base) == CALLBACK for base in cls.__mro__)


def name_of(value: Any) -> str:
    """Return ``module:qualified.name`` of a class or function."""
    return f"{value.__module__}:{value.__qualname__}"


def registered(name: str) -> Any | None:
    """Return what was registered under a name, else None."""
    return _REGISTERED.get(name)


def find(name: str) -> Any | None:
    """Return what was registered or is imported under a name, else None; nothing is imported and no code runs.

    A class is found by its own name only, and not by another one that a module has given it. A name of ``__main__`` (a
    notebook's or a script's) also finds what was registered under the same qualified name from another module, if
    there is one only.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    module_name, _, qualified = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualified.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    if isinstance(found, type) and name_of(found) != name:
        found = None
    if found is None and module_name == "__main__":
        same = [value for key, value in _REGISTERED.items() if key.partition(":")[2] == qualified]
        found = same[0] if len(same) == 1 else None
    return found


def is_found(value: Any) -> bool:
    """Tell whether a class or function can be found again by its name."""
    return find(name_of(value)) is value


def remedy(name: str) -> str:
    """Say what the user has to do so that `find` finds the name."""
    module_name, _, qualified = name.partition(":")
    if module_name == "__main__" or "<locals>" in qualified:
        return (
            f"{qualified} was defined in a script, a notebook or a function: define it here and call "
            "sparkdl.register on it, or load with trusted=True"
        )
    first = qualified.partition(".")[0]
    return f"add `from {module_name} import {first}` before loading, or load with trusted=True"
