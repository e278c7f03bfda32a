"""How long the rest of a training takes."""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """Estimates the time left from the steps since it was first asked.

    Parameters
    ----------
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first = -1
        self._began = 0.0

    def seconds_left(self, done: int, total: int) -> float | None:
        """Return the seconds that the steps take that are not done yet; None where nobody can tell."""
        now = self._clock()
        if self._first < 0:
            # The first step warms up, and a resumed fit begins in the middle: its speed is counted from here.
            self._first, self._began = done, now
        if done <= self._first:
            return None
        return (now - self._began) / (done - self._first) * (total - done)
