"""Whether the modules that the prefork server has imported are those that a rank's own sys.path would find."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Sequence
from functools import lru_cache

_AT_START = frozenset({"sitecustomize", "usercustomize"})
"""Modules that every interpreter imports where there are any."""
_FOUND: dict[tuple[str, int], frozenset[str]] = {}


def foreign_module(path: Sequence[str], own: Sequence[str]) -> str | None:
    """Return a module here that an interpreter with another sys.path would not have, or from another place.

    Another program's folders may hide a package of this one's, or hold one that this one has not.

    Parameters
    ----------
    path : sequence of str
        The other sys.path.
    own : sequence of str
        That with which this process began.

    Returns
    -------
    str or None
        The name of the first that was found.
    """
    pending = _places()
    for entry in path:
        here = _real(entry)
        names = _names_in(entry)
        for name in names & pending.keys():
            if pending.pop(name) != here:
                return name
        if unseen := names & _AT_START - sys.modules.keys():
            return min(unseen)
    places = {_real(entry) for entry in own}
    inside = tuple(os.path.join(_real(entry), "") for entry in path)
    # What an import hook has found lies beside the path, here and there; and a package (setuptools) may put a folder of
    # its own on the path of whoever imports it.
    return next((name for name, place in pending.items() if place in places and not place.startswith(inside)), None)


@lru_cache(1000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _places() -> dict[str, str]:
    """Return the entry of sys.path from which each module without a parent came; none that is built in."""
    found = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if "." in name or spec is None or origin is None or not os.path.isabs(origin) or spec.name != name:
            continue
        folder, file = os.path.split(origin)
        if spec.submodule_search_locations:
            folder, file = os.path.split(folder)
        # An import hook finds modules under other names than their files have, as setuptools does with distutils.
        if file.partition(".")[0] == name:
            found[name] = _real(folder)
    return found


def _names_in(entry: str) -> frozenset[str]:
    try:
        key = entry, os.stat(entry).st_mtime_ns
    except OSError:
        return frozenset()
    if key not in _FOUND:
        _FOUND[key] = frozenset(module.name for module in pkgutil.iter_modules([entry]))
    return _FOUND[key]
