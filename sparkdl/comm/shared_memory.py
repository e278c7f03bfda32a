"""A segment of memory that the ranks of one host share, in which they sum and hand on tensors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparkdl.comm.segment import mapped
from sparkdl.errors import SparkDLError

_BYTES = 32 * 2**20
"""Of all slots together; a container often has no more than 64 MiB of shared memory."""
SEGMENT_BYTES = _BYTES + 2**20
"""What a segment takes at most, with the words of up to 16,000 ranks."""
_LARGEST_SLOT = 4 * 2**20
_LINE = 64
"""Bytes of a cache line: no two ranks write to one."""
_WORDS = _LINE // 8
_TOGETHER = 2**16
"""Bytes up to which each of many ranks sums all of a piece: one meeting instead of two."""
_LOOKS, _YIELDS = 50, 100
_PAUSES = (20e-6, 200e-6)
"""Seconds between two looks once a rank is late: the first, and the longest."""

Array = npt.NDArray[np.generic]


class PeerLostError(SparkDLError):
    """Another rank of this host has left, or does not come."""


class SharedMemory:
    """The slots of the ranks of one host, each written by its rank and read by all.

    Pieces go through two sets of slots in turn. A rank writes its slot, counts up its word, and waits until all words
    are as high as its own; then it reads. It cannot overtake: to write a set again it must have met the others once
    more, which they do only after they have read.

    Parameters
    ----------
    name : str
        Of the segment's file.
    rank, size : int
        Among the ranks of this host.
    timeout : float
        Seconds for which a rank waits for another.

    Raises
    ------
    OSError
        There is no such segment to join, it is another user's, or there is no memory for a new one.
    """

    def __init__(self, name: str, rank: int, size: int, timeout: float) -> None:
        self.rank, self.size = rank, size
        self._timeout = timeout
        slot = min(_LARGEST_SLOT, _BYTES // (2 * size)) // _LINE * _LINE
        words = (size + 1) * _LINE
        self._memory = mapped(name, words + 2 * size * slot, create=rank == 0)
        # One word for each rank, and one that says that somebody has failed.
        self._words = memoryview(self._memory)[:words].cast("Q")
        everything = np.frombuffer(self._memory, np.uint8)[words:].reshape(2, size, slot)
        self._sets = [[everything[turn, peer] for peer in range(size)] for turn in range(2)]
        self._slot = slot
        self._piece = self._meetings = 0
        self._fence = threading.Lock()

    def sum(self, array: Array) -> None:
        """Replace a flat array by its sum over the ranks, added in their order: the same on all, bit for bit."""
        step = self._slot // array.itemsize
        for start in range(0, len(array), step):
            self._sum_piece(array[start : start + step])

    def broadcast(self, array: npt.NDArray[np.uint8], root: int) -> None:
        """Replace flat bytes by those of rank `root` of this host."""
        for start in range(0, len(array), self._slot):
            piece = array[start : start + self._slot]
            slot = self._next_set()[root][: len(piece)]
            if self.rank == root:
                np.copyto(slot, piece)
            self.meet()
            if self.rank != root:
                np.copyto(piece, slot)

    def meet(self) -> None:
        """Wait until all ranks of this host are here.

        Raises
        ------
        PeerLostError
            One has failed, or does not come in time.
        """
        self._meetings += 1
        self._order()
        self._words[self.rank * _WORDS] = self._meetings
        if not self._all_here():
            self._wait()
        self._order()

    def fail(self) -> None:
        """Let the others stop waiting. Not collective."""
        self._words[self.size * _WORDS] = 1

    def _sum_piece(self, piece: Array) -> None:
        slots = [slot[: piece.nbytes].view(piece.dtype) for slot in self._next_set()]
        np.copyto(slots[self.rank], piece)
        self.meet()
        if self.size <= 2 or piece.nbytes <= _TOGETHER:
            _add(slots, piece)
            return
        # Each rank sums one part of the piece, in the first slot, where the others read no part but their own yet.
        low, high = len(piece) * self.rank // self.size, len(piece) * (self.rank + 1) // self.size
        _add([slot[low:high] for slot in slots], slots[0][low:high])
        self.meet()
        np.copyto(piece, slots[0])

    def _next_set(self) -> list[npt.NDArray[np.uint8]]:
        self._piece += 1
        return self._sets[self._piece & 1]

    def _all_here(self) -> bool:
        words, wanted = self._words, self._meetings
        return all(words[peer * _WORDS] >= wanted for peer in range(self.size))

    def _wait(self) -> None:
        """Look often at first, then give the core to whom needs it, then sleep between two looks."""
        for _ in range(_LOOKS):
            if self._all_here():
                return
        for _ in range(_YIELDS):
            os.sched_yield()
            if self._all_here():
                return
        self._sleep()

    def _sleep(self) -> None:
        pause, longest = _PAUSES
        end = time.monotonic() + self._timeout
        while not self._all_here():
            if self._words[self.size * _WORDS]:
                raise PeerLostError("another rank of this host has failed")
            if time.monotonic() > end:
                late = [peer for peer in range(self.size) if self._words[peer * _WORDS] < self._meetings]
                raise PeerLostError(f"ranks {late} of this host did not come within {self._timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def _order(self) -> None:
        # What was written before is seen before, on processors too (ARM) that would reorder it: releasing a lock and
        # taking it again is a full barrier.
        with self._fence:
            pass
        with self._fence:
            pass


def _add(parts: list[Array], target: Array) -> None:
    add: Callable[..., object] = np.add
    add(parts[0], parts[1], out=target)
    for part in parts[2:]:
        add(target, part, out=target)
