"""Arrays that are given out again when nobody holds them any more.

The system clears fresh memory page by page when it is first touched, which takes longer than to fill it with rows. And
memory that a GPU copies from by itself is pinned, which takes longer still.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)

_KEPT = 16
"""Arrays that are given out again; only these are pinned, so that pinned memory stays bounded."""


class Recycled:
    """Arrays (n, *shape) of one dtype; used by one thread.

    A tensor made by ``torch.from_numpy``, and all that shares its memory, holds the array until the last of them is
    gone. So the count of its references says whether an array is free. Who copies a pinned one to a GPU without waiting
    has to hold a tensor of it until the copy is over.

    Parameters
    ----------
    shape : tuple of int
        Of one row.
    dtype : str
    pinned : bool
        Whether a GPU is to copy from them without the CPU; needs CUDA. Where no more memory can be pinned, the arrays
        are ordinary ones.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, pinned: bool = False) -> None:
        self._shape = shape
        self._dtype = np.dtype(dtype)
        # Of entries of sparse vectors tensors are made, that have memory of their own.
        self._pinned = pinned and self._dtype.fields is None
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
        kept = len(self._arrays) < _KEPT
        array = self._new(self._most, self._pinned and kept)
        if kept:
            self._arrays.append(array)
        return array[:rows]

    def _new(self, rows: int, pinned: bool) -> Array:
        shape = (rows, *self._shape)
        if pinned:
            try:
                return _array(shape, self._dtype, pinned=True)
            except RuntimeError as error:
                # The system limits what can be pinned. Batches of other memory are copied too, a little later.
                _log.warning("batches are not in pinned memory, copies to the GPU are slower: %s", error)
                self._pinned = False
        return np.empty(shape, dtype=self._dtype)


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], *, pinned: bool) -> Array:
    """Return an array in memory of torch's, which lives as long as the array and its views.

    It is torch's own and no view of another array: numpy would let views of it hold that one.
    """
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    array: Array = torch.empty(shape, dtype=kind, pin_memory=pinned).numpy()
    return array


def _references(arrays: list[Array]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


_UNHELD = _references([np.empty(0)])[0]
"""References of an array that only a list holds, as `_references` counts them."""
