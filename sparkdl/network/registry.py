"""Finding classes and functions by name without importing anything: what was registered, and what this process has.

A name is ``module:qualified.name``. A name that comes from a file never makes Python import a module, nor run a
module's ``__getattr__``: only dictionaries of modules and classes that exist already are looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from torch import nn

from sparkdl.errors import SettingError

T = TypeVar("T", bound=Callable[..., Any])

_REGISTERED: dict[str, Any] = {}


def register(cls: T) -> T:
    """Make a network known by its name, so that saved stages that use it can be loaded; also as a decorator.

    Parameters
    ----------
    cls : class or function
        A subclass of ``nn.Module``, or a named function that a saved stage may refer to (a loss, a metric).

    Returns
    -------
    class or function
        The same object.

    Raises
    ------
    SettingError
        If it is neither.
    """
    is_network = isinstance(cls, type) and issubclass(cls, nn.Module)
    is_function = isinstance(cls, FunctionType) and cls.__name__ != "<lambda>"
    if not (is_network or is_function):
        raise SettingError(
            f"register({cls!r}): only subclasses of nn.Module and named functions can be registered; "
            "register the class and not an instance of it"
        )
    _REGISTERED[name_of(cls)] = cls
    return cls


def name_of(value: Any) -> str:
    """Return ``module:qualified.name`` of a class or function."""
    return f"{value.__module__}:{value.__qualname__}"


def registered(name: str) -> Any | None:
    """Return what was registered under a name, else None."""
    return _REGISTERED.get(name)


def find(name: str) -> Any | None:
    """Return what was registered or is imported under a name, else None; nothing is imported and no code runs.

    A name of ``__main__`` (a notebook's or a script's) also finds what was registered under the same qualified name
    from another module, if there is one only.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    module_name, _, qualified = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualified.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    if found is None and module_name == "__main__":
        same = [value for key, value in _REGISTERED.items() if key.partition(":")[2] == qualified]
        found = same[0] if len(same) == 1 else None
    return found


def find_network(name: str) -> type[nn.Module] | None:
    """Return the subclass of ``nn.Module`` of that name, else None."""
    found = find(name)
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


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
