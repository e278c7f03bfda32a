"""Seeded orders: of row groups in an epoch, and of rows in a window.

Each order has a random stream of its own, addressed by what it is for (Philox, a counter-based generator: Salmon et
al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so that any of them can be drawn without those before it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GROUPS, _WINDOW, _OFFSET = 1, 2, 3


def group_order(seed: int, epoch: int, groups: int) -> npt.NDArray[np.int64]:
    """Return the order in which an epoch takes its row groups, (groups,)."""
    return _generator(seed, _GROUPS, epoch).permutation(groups)


def first_row(seed: int, epoch: int, rows: int) -> int:
    """Return where an epoch that takes only a part of `rows` begins, so that all rows have their turn."""
    return int(_generator(seed, _OFFSET, epoch).integers(rows))


def row_order(seed: int, epoch: int, shard: int, window: int, rows: int) -> npt.NDArray[np.int64]:
    """Return the order of the rows of one window of a shard, (rows,)."""
    return _generator(seed, _WINDOW, epoch, shard, window).permutation(rows)


def _generator(seed: int, *address: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed % (1 << 64), *address])))
