"""Work that goes on while the work before it is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from sparkdl.iterators import closed_at_end

A = TypeVar("A")
B = TypeVar("B")


def started_ahead(source: Iterator[A], start: Callable[[A], B], ahead: int) -> Generator[B, None, None]:
    """Yield what `start` makes of each item, in order; when one is handed out, `ahead` more have been started.

    Parameters
    ----------
    source : iterator
        Closed at the end, also when this generator is left early.
    start : callable
        Begins something that goes on while the item before is used.
    ahead : int
        0: nothing is taken from the source before it is asked for.
    """
    started: deque[B] = deque()
    with closed_at_end(source):
        for item in source:
            started.append(start(item))
            # Nothing here holds on to what is handed out.
            del item
            if len(started) > ahead:
                yield started.popleft()
        while started:
            yield started.popleft()
