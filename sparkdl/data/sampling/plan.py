"""Which rows are in step k of epoch e: a pure function of the row groups and a few numbers, the same on every rank.

The rows of a step are dealt to `canonical_shards` shards, whatever the number of ranks; rank r of N holds the shards
r, r + N, ... So any number of ranks up to that of the shards takes the same steps on the same rows. (MosaicML's
streaming library calls this elastic determinism.)

With shuffling, the row groups are put in an order drawn for (seed, epoch) and cut into one contiguous part for each
shard; a shard fills a window with the next ranges of its part and hands out the window's rows in a drawn order.
Without shuffling, step k is the rows [k * batch_size, (k + 1) * batch_size) in file order, and the shards hold
contiguous pieces of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sparkdl.data.format.manifest import Manifest
from sparkdl.data.sampling import rng as orders
from sparkdl.data.types import type_of
from sparkdl.errors import SettingError, invalid

WINDOW_BYTES = 1 << 29
"""A rank's window holds no more than this, however many rows are asked for: large images need it."""

Numbers = npt.NDArray[np.int64]


class RowRange(NamedTuple):
    """Rows [start, stop) of one row group of one file of the manifest."""

    file: int
    row_group: int
    start: int
    stop: int


class Window(NamedTuple):
    """The rows that a shard shuffles together: number `number` of the shard, from the shard's row `first` on."""

    number: int
    first: int
    rows: int
    ranges: tuple[RowRange, ...]


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch.

    Attributes
    ----------
    row_groups : tuple of tuple of int
        Rows of each row group of each file.
    batch_size : int
        Rows of a step over all ranks together.
    seed : int
    canonical_shards : int
        Parts that each step is dealt to; the greatest number of ranks.
    shuffle : bool
    window : int
        Rows that a rank shuffles together, over all shards: each shard has ``window // canonical_shards``, whatever the
        number of ranks, rounded up to whole row groups where these are not larger than twice that.
    drop_last : bool
        Leave out a last step that is not full.
    steps_per_epoch : int or None
        Steps after which an epoch is cut.
    """

    row_groups: tuple[tuple[int, ...], ...]
    batch_size: int
    seed: int = 42
    canonical_shards: int = 8
    shuffle: bool = True
    window: int = 200_000
    drop_last: bool = False
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "canonical_shards", "window"):
            if getattr(self, name) < 1:
                raise SettingError(invalid(name, getattr(self, name), "an integer >= 1"))

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        *,
        batch_size: int,
        seed: int = 42,
        canonical_shards: int = 8,
        shuffle: bool = True,
        window: int = 200_000,
        drop_last: bool = False,
        steps_per_epoch: int | None = None,
    ) -> Plan:
        """Return the plan for the rows of a manifest; the window is cut to `WINDOW_BYTES`."""
        row_bytes = sum(type_of(f).stored_bytes(f) for f in manifest.schema.fields if f.known)
        return cls(
            row_groups=tuple(file.row_groups for file in manifest.files),
            batch_size=batch_size,
            seed=seed,
            canonical_shards=canonical_shards,
            shuffle=shuffle,
            window=max(1, min(window, WINDOW_BYTES // max(1, row_bytes))),
            drop_last=drop_last,
            steps_per_epoch=steps_per_epoch,
        )

    @cached_property
    def total_rows(self) -> int:
        """Rows in all files."""
        return sum(sum(groups) for groups in self.row_groups)

    @cached_property
    def steps(self) -> int:
        """Steps of an epoch, the same on every rank."""
        full, rest = divmod(self.total_rows, self.batch_size)
        steps = full + (1 if rest and not self.drop_last else 0)
        return steps if self.steps_per_epoch is None else min(steps, self.steps_per_epoch)

    @cached_property
    def rows(self) -> int:
        """Rows of an epoch over all ranks; fewer than `total_rows` where it is cut."""
        return min(self.total_rows, self.steps * self.batch_size)

    @cached_property
    def most_window_rows(self) -> int:
        """The rows of a window are no more than this."""
        target = max(1, self.window // self.canonical_shards)
        largest = max((rows for groups in self.row_groups for rows in groups), default=0)
        return min(target - 1 + min(2 * target, largest), -(-self.rows // self.canonical_shards))

    def step_rows(self, step: int) -> int:
        """Return the rows of a step over all ranks."""
        return min(self.batch_size, self.rows - step * self.batch_size)

    def share(self, step: int, shard: int) -> int:
        """Return the rows that a shard gives to a step.

        Equal parts; what is left over is dealt one by one, going on where the step before has stopped, so that no two
        shards ever differ by more than one row in all they have given.
        """
        part, left = divmod(self.step_rows(step), self.canonical_shards)
        start = step * (self.batch_size % self.canonical_shards)
        return part + (1 if (shard - start) % self.canonical_shards < left else 0)

    def shares(self, step: int) -> tuple[int, ...]:
        """Return the rows that each shard gives to a step."""
        return tuple(self.share(step, shard) for shard in range(self.canonical_shards))

    def given(self, step: int, shard: int) -> int:
        """Return the rows that a shard has given in all steps before `step`."""
        full = min(step, self.rows // self.batch_size)
        part, left = divmod(self.batch_size, self.canonical_shards)
        dealt = full * left
        given = full * part + (dealt - shard + self.canonical_shards - 1) // self.canonical_shards
        return given + (self.share(full, shard) if step > full and full < self.steps else 0)

    def step_of(self, shard: int, row: int) -> int:
        """Return the step to which a shard gives its row number `row`."""
        low, high = 0, self.steps
        while low < high:
            middle = (low + high) // 2
            if self.given(middle + 1, shard) > row:
                high = middle
            else:
                low = middle + 1
        return low

    def shard_ranges(self, epoch: int, shard: int) -> Iterator[RowRange]:
        """Yield the rows of a shard in an epoch, before they are shuffled within windows."""
        if self.shuffle:
            order = self._order(epoch)
            start = order.first + sum(self.given(self.steps, before) for before in range(shard))
            yield from self._circular(order, start, self.given(self.steps, shard))
            return
        for step in range(self.steps):
            start, stop = self.pieces(step)[shard]
            yield from self._between(self._file_order, start, stop)

    def pieces(self, step: int) -> tuple[tuple[int, int], ...]:
        """Return the rows [start, stop), in file order, that each shard gives to a step when nothing is shuffled."""
        ends = tuple(accumulate(self.shares(step), initial=step * self.batch_size))
        return tuple(pairwise(ends))

    def groups_between(self, start: int, stop: int) -> Iterator[tuple[int, RowRange]]:
        """Yield the whole row groups that hold the rows [start, stop) in file order, each with its first row."""
        if start < stop:
            order = self._file_order
            first, last = order.place_of(start), order.place_of(stop - 1)
            for index in range(first, last + 1):
                if order.rows_at(index):
                    yield int(order.starts[index]), order.whole(index)

    def windows(self, epoch: int, shard: int, from_row: int = 0) -> Iterator[Window]:
        """Yield the windows of a shard in an epoch, but for those that end at or before its row `from_row`."""
        target = max(1, self.window // self.canonical_shards)
        # The first window is shorter by shard, so that the shards do not all fill their windows at the same step.
        goal = max(1, target * (shard + 1) // self.canonical_shards)
        number, first, rows = 0, 0, 0
        ranges: list[RowRange] = []
        for part in self.shard_ranges(epoch, shard):
            for piece in _cut(part, 2 * target):
                ranges.append(piece)
                rows += piece.stop - piece.start
                if rows >= goal:
                    if first + rows > from_row:
                        yield Window(number, first, rows, tuple(ranges))
                    number, first, rows, ranges, goal = number + 1, first + rows, 0, [], target
        if rows and first + rows > from_row:
            yield Window(number, first, rows, tuple(ranges))

    def row_order(self, epoch: int, shard: int, window: Window) -> Numbers:
        """Return the order in which the rows of a window are handed out."""
        return orders.row_order(self.seed, epoch, shard, window.number, window.rows)

    def _circular(self, order: _GroupOrder, start: int, count: int) -> Iterator[RowRange]:
        start %= max(1, self.total_rows)
        head = min(count, self.total_rows - start)
        yield from self._between(order, start, start + head)
        yield from self._between(order, 0, count - head)

    @staticmethod
    def _between(order: _GroupOrder, start: int, stop: int) -> Iterator[RowRange]:
        index = order.place_of(start) if start < stop else 0
        while start < stop:
            rows = order.rows_at(index)
            inside = start - int(order.starts[index])
            end = min(rows, inside + stop - start)
            if end > inside:
                yield order.whole(index)._replace(start=inside, stop=end)
            start += end - inside
            index += 1

    @cached_property
    def _file_order(self) -> _GroupOrder:
        return _GroupOrder(self.row_groups, None, 0)

    def _order(self, epoch: int) -> _GroupOrder:
        return _epoch_order(self.row_groups, self.seed, epoch, self.total_rows, self.rows)


class _GroupOrder:
    """Row groups one after the other, in file order or another one."""

    def __init__(self, row_groups: tuple[tuple[int, ...], ...], order: Numbers | None, first: int) -> None:
        files = np.repeat(np.arange(len(row_groups)), [len(groups) for groups in row_groups])
        numbers = np.array([number for groups in row_groups for number in range(len(groups))], dtype=np.int64)
        rows = np.array([rows for groups in row_groups for rows in groups], dtype=np.int64)
        if order is not None:
            files, numbers, rows = files[order], numbers[order], rows[order]
        self._files, self._numbers, self._rows = files, numbers, rows
        self.ends = np.cumsum(rows)
        self.starts = self.ends - rows
        self.first = first

    def place_of(self, row: int) -> int:
        """The group that holds the row; groups without rows hold none."""
        return int(np.searchsorted(self.ends, row, side="right"))

    def rows_at(self, index: int) -> int:
        return int(self._rows[index])

    def whole(self, index: int) -> RowRange:
        return RowRange(int(self._files[index]), int(self._numbers[index]), 0, int(self._rows[index]))


@lru_cache(maxsize=4)
def _epoch_order(
    row_groups: tuple[tuple[int, ...], ...], seed: int, epoch: int, total_rows: int, rows: int
) -> _GroupOrder:
    order = orders.group_order(seed, epoch, sum(len(groups) for groups in row_groups))
    # An epoch that is cut begins somewhere else each time, or one large row group would never show its end.
    first = orders.first_row(seed, epoch, total_rows) if rows < total_rows else 0
    return _GroupOrder(row_groups, order, first)


def _cut(part: RowRange, limit: int) -> Iterator[RowRange]:
    """Cut a range that is longer than `limit` into equal pieces that are not."""
    rows = part.stop - part.start
    pieces = -(-rows // limit)
    for piece in range(pieces):
        yield part._replace(start=part.start + rows * piece // pieces, stop=part.start + rows * (piece + 1) // pieces)
