"""How torchmetrics is imported."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def load_torchmetrics() -> Any:
    """Import torchmetrics."""
    import torchmetrics

    return torchmetrics


def load_without_scipy() -> None:
    """Import torchmetrics without scipy.signal, which takes longer than all the rest of it. For ranks only.

    torchmetrics imports scipy.signal only to give it back an old name, which an audio package asks for; where its
    metrics compute with scipy they import it at that time. For the moment of the import this process has two functions
    of lightning_utilities changed, so it must be a process of our own with no other thread that imports through them.
    """
    if "torchmetrics" in sys.modules:
        return
    imports: Any = import_module("lightning_utilities.core.imports")
    there, met = imports.package_available, imports.RequirementCache.__bool__
    imports.package_available = lambda name: name != "scipy" and there(name)
    imports.RequirementCache.__bool__ = lambda cache: cache.requirement != "scipy" and met(cache)
    try:
        load_torchmetrics()
    finally:
        imports.package_available = there
        imports.RequirementCache.__bool__ = met
