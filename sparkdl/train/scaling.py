"""Whether several ranks of CPUs are slower than one would be."""

from __future__ import annotations

_STEPS = 50
"""Of an epoch, or it tells nothing: the first steps are slow."""
_READING = 0.1
"""Share of the time in which ranks may wait for rows: with more, they wait for each other because of it."""
_SLOWER = 1.1


def slower_than_one(
    ranks: int, steps: int, seconds: float, waited: float, computing: float, summing: float
) -> str | None:
    """Return a sentence if one rank would have taken less time for an epoch; None if not, or if nobody can tell.

    Parameters
    ----------
    ranks, steps : int
    seconds : float
        Of the epoch, like all others a mean over the ranks.
    waited : float
        For rows.
    computing : float
        In the forward and backward passes: one rank computes the rows of all.
    summing : float
        In the all-reduce of the gradients, with the waiting for the slowest rank: one rank has none. What is left of
        the seconds (the optimizer, callbacks) one rank has as well.
    """
    if ranks == 1 or steps < _STEPS or waited > _READING * seconds:
        return None
    alone = seconds - waited - summing + (ranks - 1) * computing
    factor = (seconds - waited) / max(alone, 1e-9)
    if factor < _SLOWER:
        return None
    # At least: a step of few rows takes one rank no longer than it takes each of several.
    return f"{ranks} ranks take at least {factor:.1f} times as long as one would: raise batchSize or set numProcs=1"
