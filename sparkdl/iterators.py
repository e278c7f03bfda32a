"""Iterators whose source holds a file, a thread or a queue until it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def closed_at_end(iterator: Iterator[Any]) -> Iterator[None]:
    """Close an iterator at the end of the block, as `contextlib.closing` does, if it can be closed."""
    try:
        yield
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
