"""Ranks in a barrier stage: `launch` on the driver, one task and one process per rank behind it.

The names are imported when they are first used: a rank imports parts of this room and needs no pyspark.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparkdl.cluster.launch import Launched, launch, launch_local

__all__ = ["Launched", "launch", "launch_local"]


def __getattr__(name: str) -> object:
    if name in __all__:
        value = getattr(import_module("sparkdl.cluster.launch"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
