"""One rank's rows of each step, put together from the blocks that a reader brings.

Both ways ask for row ranges in the order in which the steps need them (`reads`), so that a reader can run ahead
without knowing anything of steps, and hold no more than a window for each of their shards.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparkdl.data.pack import RowLayout, Rows
from sparkdl.data.plan import Plan, RowRange, Window

Columns = list[npt.NDArray[Any]]
"""One contiguous array (n, *shape) for each slot of the layout."""


class ShuffledSteps:
    """The steps of one epoch from `start_step` on, where rows are shuffled within the windows of the shards."""

    def __init__(self, plan: Plan, layout: RowLayout, shards: Sequence[int], epoch: int, start_step: int) -> None:
        self._plan = plan
        self._layout = layout
        self._shards = shards
        self._epoch = epoch
        self._start_step = start_step

    def reads(self) -> Iterator[RowRange]:
        """Yield the ranges of all windows, in the order in which the steps run into them."""
        for _, _, window in heapq.merge(*map(self._needed, self._shards), key=lambda item: item[:2]):
            yield from window.ranges

    def batches(self, blocks: Iterator[Rows]) -> Iterator[Columns]:
        """Yield the rows of each step."""
        plan, layout = self._plan, self._layout
        windows = [_ShardWindow(plan, layout, shard, self._epoch, self._start_step) for shard in self._shards]
        for step in range(self._start_step, plan.steps):
            shares = [plan.share(step, shard) for shard in self._shards]
            columns = layout.empty(sum(shares))
            place = 0
            for window, share in zip(windows, shares, strict=True):
                window.take(share, [column[place : place + share] for column in columns], blocks)
                place += share
            yield columns

    def _needed(self, shard: int) -> Iterator[tuple[int, int, Window]]:
        """The windows of a shard, each with the step that is the first to need it."""
        plan = self._plan
        given = plan.given(self._start_step, shard)
        for window in plan.windows(self._epoch, shard, given):
            # A resumed epoch enters a window at the first row that is not given yet.
            yield plan.step_of(shard, max(given, window.first)), shard, window


class _ShardWindow:
    """The rows of a shard's present window, and how many of them are given."""

    def __init__(self, plan: Plan, layout: RowLayout, shard: int, epoch: int, start_step: int) -> None:
        self._plan = plan
        self._layout = layout
        self._shard = shard
        self._epoch = epoch
        self._given = plan.given(start_step, shard)
        self._windows = plan.windows(epoch, shard, self._given)
        self._columns: Columns = layout.empty(0)
        self._order: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def take(self, count: int, out: Columns, blocks: Iterator[Rows]) -> None:
        """Put the next `count` rows into `out`."""
        done = 0
        while done < count:
            if len(self._order) == 0:
                self._refill(blocks)
            chosen, self._order = self._order[: count - done], self._order[count - done :]
            end = done + len(chosen)
            for column, target in zip(self._columns, out, strict=True):
                # Every index is inside; "clip" only spares numpy a buffer for the result.
                np.take(column, chosen, axis=0, out=target[done:end], mode="clip")
            done = end
        self._given += count

    def _refill(self, blocks: Iterator[Rows]) -> None:
        window = next(self._windows)
        if len(self._columns[0]) < window.rows:
            self._columns = []
            self._columns = self._layout.empty(window.rows)
        place = 0
        for wanted in window.ranges:
            rows = next(blocks)
            end = place + wanted.stop - wanted.start
            for column, values in zip(self._columns, self._layout.unpack(rows).values(), strict=True):
                column[place:end] = values
            place = end
        order = self._plan.row_order(self._epoch, self._shard, window)
        # Not at the window's start only where an epoch is resumed.
        self._order = order[max(0, self._given - window.first) :]


class _Held(NamedTuple):
    start: int
    stop: int
    values: Columns


class OrderedSteps:
    """The steps of one epoch from `start_step` on, in file order."""

    def __init__(self, plan: Plan, layout: RowLayout, shards: Sequence[int], epoch: int, start_step: int) -> None:
        del epoch  # Every epoch is the same.
        self._plan = plan
        self._layout = layout
        self._shards = shards
        self._start_step = start_step

    def reads(self) -> Iterator[RowRange]:
        """Yield the row groups that hold rows of these shards, each once."""
        for _, wanted in self._groups():
            yield wanted

    def batches(self, blocks: Iterator[Rows]) -> Iterator[Columns]:
        """Yield the rows of each step."""
        groups = self._groups()
        held: deque[_Held] = deque()
        for step in range(self._start_step, self._plan.steps):
            pieces = self._pieces(step)
            columns = self._layout.empty(sum(stop - start for start, stop in pieces))
            place = 0
            for start, stop in pieces:
                while held and held[0].stop <= start:
                    held.popleft()
                while start < stop and (not held or held[-1].stop < stop):
                    first, wanted = next(groups)
                    values = list(self._layout.unpack(next(blocks)).values())
                    held.append(_Held(first, first + wanted.stop, values))
                for block in held:
                    low, high = max(start, block.start), min(stop, block.stop)
                    if low < high:
                        for column, source in zip(columns, block.values, strict=True):
                            column[place : place + high - low] = source[low - block.start : high - block.start]
                        place += high - low
            yield columns

    def _pieces(self, step: int) -> list[tuple[int, int]]:
        pieces = self._plan.pieces(step)
        return [pieces[shard] for shard in self._shards]

    def _groups(self) -> Iterator[tuple[int, RowRange]]:
        """The row groups that hold rows of these shards, each once, with the number of its first row."""
        behind = -1
        for step in range(self._start_step, self._plan.steps):
            for start, stop in self._pieces(step):
                for first, wanted in self._plan.groups_between(max(start, behind), stop):
                    yield first, wanted
                    behind = first + wanted.stop
