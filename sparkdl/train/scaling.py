"""Whether several ranks of CPUs are slower than one would be."""

from __future__ import annotations

_STEPS = 50
"""Of an epoch, or it tells nothing: the first steps are slow."""
_READING = 0.1
"""Share of the time in which ranks may wait for rows: with more, they wait for each other because of it."""
_SLOWER = 1.1


def slower_than_one(
    ranks: int, steps: int, computing: float, summing: float, other: float, wait_share: float
) -> str | None:
    """Return a sentence if one rank would have taken less time for an epoch; None if not, or if nobody can tell.

    Parameters
    ----------
    ranks, steps : int
    computing : float
        Seconds of the forward and backward passes, a mean over the ranks: one rank computes the rows of all.
    summing : float
        Seconds in the all-reduce of the gradients, with the waiting for the slowest rank: one rank has none.
    other : float
        Seconds of all else in a step, which one rank has as well.
    wait_share : float
        Share of the epoch's time that went by waiting for rows.
    """
    if ranks == 1 or steps < _STEPS or wait_share > _READING:
        return None
    factor = (computing + summing + other) / (ranks * computing + other)
    if factor < _SLOWER:
        return None
    return f"{ranks} ranks take {factor:.1f} times as long as one would: raise batchSize or set numProcs=1"
