"""One rank's rows of each step, put together from the blocks that a reader brings.

Both ways ask for row ranges in the order in which the steps need them (`reads`), so that a reader can run ahead
without knowing anything of steps, and hold no more than a window for each of their shards and a few that are read
ahead.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparkdl.data.format.row_layout import Block, RowLayout
from sparkdl.data.loading.shuffle_buffer import Read, ShuffleBuffer
from sparkdl.data.sampling.plan import Plan, RowRange, Window

Columns = list[npt.NDArray[Any]]
"""One array (n, *shape) for each slot of the layout."""

Empty = Callable[[int], Columns]
"""Gives columns for so many rows, not initialised."""


class Run(NamedTuple):
    """The rows of one step, or of a few that follow each other.

    Attributes
    ----------
    columns : Columns
    sizes : list of int
        Rows of each step.
    """

    columns: Columns
    sizes: list[int]


class ShuffledSteps:
    """The steps of one epoch from `start_step` on, where rows are shuffled within the windows of the shards.

    Up to `run` steps are put together at once.
    """

    def __init__(
        self,
        plan: Plan,
        empty: Empty,
        shards: Sequence[int],
        epoch: int,
        start_step: int,
        memory: ShuffleBuffer,
        run: int,
    ) -> None:
        self._plan = plan
        self._empty = empty
        self._epoch = epoch
        self._start_step = start_step
        self._memory = memory
        memory.clear()
        self._run = run
        self._shards = {shard: _Shard(memory, plan.given(start_step, shard)) for shard in shards}

    def reads(self) -> Iterator[Read]:
        """Yield the ranges of all windows, in the order in which the steps run into them."""
        memory = self._memory
        for _, shard, window in heapq.merge(*map(self._needed, self._shards), key=lambda item: item[:2]):
            part = memory.take()
            self._shards[shard].placed.append((window, part))
            positions = np.empty(window.rows, dtype=np.int64)
            positions[self._plan.row_order(self._epoch, shard, window)] = np.arange(window.rows)
            first = 0
            for wanted in window.ranges:
                end = first + wanted.stop - wanted.start
                yield Read(wanted, memory.target(part, positions[first:end]))
                first = end

    def batches(self, blocks: Iterator[Block]) -> Iterator[Run]:
        """Yield the rows of the steps."""
        step = self._start_step
        while step < self._plan.steps:
            shares = [self._plan.share(step, shard) for shard in self._shards]
            steps = self._together(step, shares)
            yield Run(self._columns(shares, steps, blocks), [sum(shares)] * steps)
            step += steps

    def _needed(self, shard: int) -> Iterator[tuple[int, int, Window]]:
        """The windows of a shard, each with the step that is the first to need it."""
        plan = self._plan
        given = plan.given(self._start_step, shard)
        for window in plan.windows(self._epoch, shard, given):
            # A resumed epoch enters a window at the first row that is not given yet.
            yield plan.step_of(shard, max(given, window.first)), shard, window

    def _together(self, step: int, shares: Sequence[int]) -> int:
        """How many steps from this one on have the same shares and need no other windows than those that are there."""
        plan = self._plan
        if plan.batch_size % plan.canonical_shards:
            return 1
        whole = plan.rows // plan.batch_size - step
        there = (shard.left // share for shard, share in zip(self._shards.values(), shares, strict=True) if share)
        return max(1, min(self._run, whole, *there))

    def _columns(self, shares: Sequence[int], steps: int, blocks: Iterator[Block]) -> Columns:
        size = sum(shares)
        columns = self._empty(steps * size)
        by_step = [column.reshape(steps, size, *column.shape[1:]) for column in columns]
        position = 0
        for shard, share in zip(self._shards.values(), shares, strict=True):
            end = position + share
            while position < end:
                if not shard.left:
                    shard.refill(blocks)
                # Several steps are there whole, one may need the next window too.
                count = min(end - position, shard.left // steps)
                for column, values in zip(by_step, shard.take(steps * count), strict=True):
                    column[:, position : position + count] = values.reshape(steps, count, *column.shape[2:])
                position += count
        return columns


class _Shard:
    """The rows of a shard's present window that are not given yet, in their order."""

    def __init__(self, memory: ShuffleBuffer, given: int) -> None:
        self.placed: deque[tuple[Window, int]] = deque()
        self._memory = memory
        self._given = given
        self._part: int | None = None
        self._rows: Columns = []
        self._next = self._end = 0

    @property
    def left(self) -> int:
        return self._end - self._next

    def take(self, count: int) -> Columns:
        first, self._next = self._next, self._next + count
        self._given += count
        return [values[first : self._next] for values in self._rows]

    def refill(self, blocks: Iterator[Block]) -> None:
        if self._part is not None:
            self._memory.give_back(self._part)
        # A window has been given its part when the first of its ranges comes, not before.
        next(blocks)
        window, self._part = self.placed.popleft()
        for _ in window.ranges[1:]:
            next(blocks)
        self._rows = self._memory.rows(self._part)
        # Not at the window's start only where an epoch is resumed.
        self._next, self._end = max(0, self._given - window.first), window.rows


class _Held(NamedTuple):
    start: int
    stop: int
    values: Columns


class OrderedSteps:
    """The steps of one epoch from `start_step` on, in file order."""

    def __init__(self, plan: Plan, layout: RowLayout, empty: Empty, shards: Sequence[int], start_step: int) -> None:
        self._plan = plan
        self._layout = layout
        self._empty = empty
        self._shards = shards
        self._start_step = start_step

    def reads(self) -> Iterator[Read]:
        """Yield the row groups that hold rows of these shards, each once."""
        for _, wanted in self._groups():
            yield Read(wanted, None)

    def batches(self, blocks: Iterator[Block]) -> Iterator[Run]:
        """Yield the rows of the steps."""
        groups = self._groups()
        held: deque[_Held] = deque()
        for step in range(self._start_step, self._plan.steps):
            pieces = self._pieces(step)
            columns = self._empty(sum(stop - start for start, stop in pieces))
            position = 0
            for start, stop in pieces:
                while held and held[0].stop <= start:
                    held.popleft()
                while start < stop and (not held or held[-1].stop < stop):
                    first, wanted = next(groups)
                    unpacked = list(self._layout.unpack(next(blocks)).values())
                    held.append(_Held(first, first + wanted.stop, unpacked))
                for block in held:
                    low, high = max(start, block.start), min(stop, block.stop)
                    if low < high:
                        for column, source in zip(columns, block.values, strict=True):
                            values = source[low - block.start : high - block.start]
                            column[position : position + high - low] = values
                        position += high - low
            yield Run(columns, [position])

    def _pieces(self, step: int) -> list[tuple[int, int]]:
        """The rows of these shards in a step; those of shards that follow each other as one piece."""
        shards, pieces = self._shards, self._plan.pieces(step)
        breaks = [0, *(i for i, (one, other) in enumerate(pairwise(shards), 1) if other != one + 1), len(shards)]
        return [(pieces[shards[first]][0], pieces[shards[end - 1]][1]) for first, end in pairwise(breaks)]

    def _groups(self) -> Iterator[tuple[int, RowRange]]:
        """The row groups that hold rows of these shards, each once, with the number of its first row."""
        behind = -1
        for step in range(self._start_step, self._plan.steps):
            for start, stop in self._pieces(step):
                for first, wanted in self._plan.groups_between(max(start, behind), stop):
                    yield first, wanted
                    behind = first + wanted.stop
