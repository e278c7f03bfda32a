"""Networks as references (a name, a class, a function, an instance) and back."""

from sparkdl.network.check import check
from sparkdl.network.description import Description, describe, restore
from sparkdl.network.registry import find, register
from sparkdl.network.resolve import Network, Reference, resolve

__all__ = ["Description", "Network", "Reference", "check", "describe", "find", "register", "resolve", "restore"]
