"""Arrays that are given out again when nobody holds them any more.

The system clears fresh memory page by page when it is first touched, which takes longer than to fill it with rows.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_KEPT = 16


class Recycled:
    """Arrays (n, *shape) of one dtype; used by one thread.

    A tensor made by ``torch.from_numpy``, and all that shares its memory, holds the array until the last of them is
    gone. So the count of its references says whether an array is free.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self._shape = shape
        self._dtype = dtype
        self._most = 0
        self._arrays: list[Array] = []

    def take(self, rows: int) -> Array:
        """Return an array (rows, *shape), not initialised, that nobody else holds."""
        self._most = max(self._most, rows)
        counts = _references(self._arrays)
        for array, count in zip(self._arrays, counts, strict=True):
            if count == _UNHELD and len(array) >= rows:
                return array[:rows]
        # Those that are free are too small.
        self._arrays = [array for array, count in zip(self._arrays, counts, strict=True) if count != _UNHELD]
        array = np.empty((self._most, *self._shape), dtype=self._dtype)
        if len(self._arrays) < _KEPT:
            self._arrays.append(array)
        return array[:rows]


def _references(arrays: list[Array]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


_UNHELD = _references([np.empty(0)])[0]
"""References of an array that only a list holds, as `_references` counts them."""
