"""Room for the rows that a rank shuffles together, and how readers are told to fill it.

Rows are shuffled on the way in: the threads that read put each row to the place from which it will be handed out, so
that a batch is cut from memory that lies in order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparkdl.data.pack import RowLayout, Rows
from sparkdl.data.plan import Numbers, Plan, RowRange


class Target(NamedTuple):
    """Where the rows of a range are to go.

    Attributes
    ----------
    memory : array
        (n,) rows as bytes, shared with other targets.
    places : array
        (rows of the range,) int64, which place each of them takes.
    """

    memory: Rows
    places: Numbers

    def put(self, first: int, rows: Rows) -> None:
        """Put rows that lie one after the other, the first of them number `first` of the range."""
        # Every place is there; "clip" only spares numpy a check of each.
        np.put(self.memory, self.places[first : first + len(rows)], rows.view(self.memory.dtype), mode="clip")


class Read(NamedTuple):
    """What a reader is asked for: the rows of a range, put into `target` if there is one, else handed on."""

    rows: RowRange
    target: Target | None


class WindowMemory:
    """Equal parts of one memory, each with room for any window of a plan.

    Memory that no window has touched is not resident, so that room for the largest window costs nothing.

    Parameters
    ----------
    plan : Plan
    layout : RowLayout
    windows : int
        Windows that are in use at once: one for each shard of the rank, and those that are read ahead.
    """

    def __init__(self, plan: Plan, layout: RowLayout, windows: int) -> None:
        self._room = plan.most_window_rows
        self._rows: Rows = np.empty(windows * self._room, dtype=layout.dtype)
        self._bytes = self._rows.view(np.dtype((np.void, layout.row_bytes)))
        self._windows = windows
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

    def rows(self, part: int) -> Rows:
        """Return the rows of a part."""
        return self._rows[part * self._room : (part + 1) * self._room]

    def target(self, part: int, places: Numbers) -> Target:
        """Return where rows go that take these places of a part."""
        return Target(self._bytes, places + part * self._room)
