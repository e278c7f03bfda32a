"""How torchmetrics is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def load_torchmetrics() -> Any:
    """Import torchmetrics, without scipy.signal: that is most of the time that a rank would spend on it.

    torchmetrics imports scipy.signal only to give it back an old name, which an audio package asks for; where its
    metrics compute with scipy they import it at that time.
    """
    with _scipy_unseen():
        import torchmetrics
    return torchmetrics


@contextmanager
def _scipy_unseen() -> Iterator[None]:
    imports: Any = import_module("lightning_utilities.core.imports")
    there, met = imports.package_available, imports.RequirementCache.__bool__
    imports.package_available = lambda name: name != "scipy" and there(name)
    imports.RequirementCache.__bool__ = lambda cache: cache.requirement != "scipy" and met(cache)
    try:
        yield
    finally:
        imports.package_available = there
        imports.RequirementCache.__bool__ = met
