"""Rows on their way into a batch: copied at once, or, where pictures become numbers, by several threads together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from sparkdl.data.images import scaled

_WORTH_BYTES = 1 << 20
"""From so many bytes of pictures on more threads cost less than they save."""

_Copy = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class Copies:
    """Copies of values, those of pictures done together at the end; used by one thread.

    Parameters
    ----------
    threads : int
        That turn pictures into numbers, the caller's among them.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pictures: list[_Copy] = []

    def add(self, values: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Copy values, (steps, n, *shape), to `out`; neither may be touched before `finish`."""
        if values.dtype == np.uint8 and out.dtype == np.float32:
            self._pictures += zip(values, out, strict=True)
        else:
            out[...] = values

    def finish(self) -> None:
        """Return when all is copied."""
        pictures, self._pictures = self._pictures, []
        if self._threads == 1 or sum(values.nbytes for values, _ in pictures) < _WORTH_BYTES:
            _scale(pictures)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="sparkdl-scale")
        # One long task for each thread: what threads hand to each other costs them more than its work.
        others = [self._pool.submit(_scale, pictures[thread :: self._threads]) for thread in range(1, self._threads)]
        _scale(pictures[:: self._threads])
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads; safe to call twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None


def _scale(pictures: Sequence[_Copy]) -> None:
    for values, out in pictures:
        scaled(values, out)
