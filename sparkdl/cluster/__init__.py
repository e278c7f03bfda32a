"""Ranks in a barrier stage: `launch` on the driver, one task and one process per rank behind it.

The names are imported when they are first used: a rank imports parts of this room and needs no pyspark.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparkdl.cluster.launch import Launched, launch, launch_local
    from sparkdl.cluster.prestart import prestart

_PLACES = {
    "Launched": "sparkdl.cluster.launch",
    "launch": "sparkdl.cluster.launch",
    "launch_local": "sparkdl.cluster.launch",
    "prestart": "sparkdl.cluster.prestart",
}

__all__ = ["Launched", "launch", "launch_local", "prestart"]


def __getattr__(name: str) -> object:
    if name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
