"""The memory of the rows that a rank shuffles together, and how readers are told to fill it.

Rows are shuffled on the way in: the threads that read scatter each row to the position from which it will be handed
out, so that a batch is cut from memory that lies in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparkdl.data.format.row_layout import RowLayout, Rows
from sparkdl.data.sampling.plan import Numbers, Plan, RowRange

Values = npt.NDArray[Any]
"""Of one field, (n, *shape)."""

_PIECE_BYTES = 1 << 20


def piece_rows(layout: RowLayout) -> int:
    """Return how many rows at a time go through the cache of a core on their way to a target."""
    return max(1, _PIECE_BYTES // layout.row_bytes)


class Target(NamedTuple):
    """Where the rows of a range are to go.

    Attributes
    ----------
    memory : list of array
        (n, *shape) for each slot of the layout, shared with other targets.
    positions : array
        (rows of the range,) int64, to which position of the memory each of them goes.
    """

    memory: list[Values]
    positions: Numbers

    def scatter(self, slot: int, first: int, values: Values) -> None:
        """Scatter the values of rows that follow each other, the first of them number `first` of the range."""
        if not values.size:
            return
        positions = self.positions[first : first + len(values)]
        # Every position is there; "clip" only spares numpy a check of each.
        np.put(_whole_rows(self.memory[slot]), positions, _whole_rows(np.ascontiguousarray(values)), mode="clip")

    def scatter_packed(self, layout: RowLayout, first: int, rows: Rows) -> None:
        """Scatter packed rows that follow each other, the first of them number `first` of the range."""
        for slot, values in enumerate(layout.unpack(rows).values()):
            self.scatter(slot, first, values)


class Read(NamedTuple):
    """What a reader is asked for: the rows of a range, scattered into `target` if there is one, else handed on."""

    rows: RowRange
    target: Target | None


class ShuffleBuffer:
    """Equal parts of one memory, each large enough for any window of a plan.

    Memory that no window has touched is not resident, so that a part for the largest window costs nothing.

    Parameters
    ----------
    plan : Plan
    allocate : callable
        Returns an array (n, *shape) for each slot, for so many rows, not initialised.
    windows : int
        Windows that are in use at once: one for each shard of the rank, and those that are read ahead.
    """

    def __init__(self, plan: Plan, allocate: Callable[[int], list[Values]], windows: int) -> None:
        self._rows = plan.most_window_rows
        self._windows = windows
        self._memory = allocate(windows * self._rows)
        self.clear()

    def clear(self) -> None:
        """Make all parts free."""
        self._free = list(range(self._windows))

    def take(self) -> int:
        """Return the number of a part that is free."""
        return self._free.pop()

    def give_back(self, part: int) -> None:
        """Say that a part is free again."""
        self._free.append(part)

    def rows(self, part: int) -> list[Values]:
        """Return the rows of a part, by slot."""
        return [values[part * self._rows : (part + 1) * self._rows] for values in self._memory]

    def target(self, part: int, positions: Numbers) -> Target:
        """Return where rows go that take these positions of a part."""
        return Target(self._memory, positions + part * self._rows)


def _whole_rows(values: Values) -> npt.NDArray[np.void]:
    """The rows as (n,) numbers of bytes, which numpy moves faster than what is in them."""
    return values.reshape(-1).view(np.dtype((np.void, values.nbytes // len(values))))
