"""Writes checkpoints in a thread beside the training, so that the training waits only for a copy in memory."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from sparkdl.errors import PersistenceError
from sparkdl.train.checkpoint.folder import CheckpointFolder, Snapshot

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the next try after one that failed; each time twice as many."""
_LAST_TRIES = 5
_WAIT_LIMIT = 600.0
"""Seconds that a training waits for a store that neither takes a checkpoint nor fails."""


class Writer:
    """One writer for each folder; at most one checkpoint is written at a time.

    A checkpoint that cannot be written is given up with one warning: the training goes on, and `free` says when another
    one is worth a try.

    Parameters
    ----------
    folder : CheckpointFolder
    keep : int
        Checkpoints that stay: so many of the last ones, and the best one.
    replaces : bool
        Whether those that are there go once the first new one is whole.
    warn : callable of (str) -> None
        Takes the one warning.
    """

    def __init__(self, folder: CheckpointFolder, keep: int, replaces: bool, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._keep = keep
        self._replaces = replaces
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._begun = False
        self._failures = 0
        self._next_try = 0.0
        self._scores: dict[int, float | None] = {}
        self.written = 0

    @property
    def free(self) -> bool:
        """Whether a checkpoint would be written at once."""
        return not self._busy and time.monotonic() >= self._next_try

    def write(self, taken: Snapshot) -> None:
        """Begin to write a checkpoint; one that is being written is waited for, for ten minutes."""
        self.close()
        if self._busy:
            return
        self._thread = threading.Thread(target=self._try, args=(taken,), name="sparkdl-checkpoint", daemon=True)
        self._thread.start()

    def finish(self, taken: Snapshot) -> None:
        """Write the last checkpoint, and try again some times where that fails."""
        for attempt in range(_LAST_TRIES):
            if attempt:
                time.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1)))
            self.write(taken)
            self.close()
            if self._busy or not self._failures:
                return

    def close(self) -> None:
        """Wait for what is being written; after ten minutes it is given up with a warning."""
        if self._thread is None:
            return
        self._thread.join(_WAIT_LIMIT)
        if self._busy:
            self._warn(f"a checkpoint was not written within {_WAIT_LIMIT:g} s, and is given up")

    def _begin(self) -> None:
        """Remove what is not whole, and look at what is there."""
        for step in self._folder.remove_incomplete():
            self._scores[step] = None
            # A damaged one has no score, and goes when its turn comes.
            with suppress(PersistenceError, OSError):
                self._scores[step] = self._score_of(self._folder.about(step))

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _try(self, taken: Snapshot) -> None:
        began = time.monotonic()
        try:
            if not self._begun:
                self._begin()
                self._begun = True
            self._folder.write(taken)
        except Exception as error:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)
            self._failures += 1
            self._next_try = time.monotonic() + pause
            _log.warning("checkpoint of step %d was not written, next try in %g s: %r", taken.step, pause, error)
            if self._failures == 1:
                self._warn(
                    f"a checkpoint could not be written ({type(error).__name__}: {error}): training goes on, "
                    "and later ones are tried"
                )
            return
        self._failures, self.written = 0, self.written + 1
        self._scores[taken.step] = self._score_of(taken.about)
        _log.info("checkpoint of step %d written in %.2f s", taken.step, time.monotonic() - began)
        # What stays too long does no harm.
        with suppress(Exception):
            self._tidy(taken.step)

    def _tidy(self, newest: int) -> None:
        if self._replaces:
            self._replaces = False
            for step in list(self._scores):
                if step != newest:
                    self._drop(step)
            return
        # What lies ahead of the newest is of a past that a restart went back behind; it equals what comes again.
        behind = sorted(step for step in self._scores if step <= newest)
        known = [(score, step) for step, score in self._scores.items() if score is not None]
        best = {min(known)[1]} if known else set()
        for step in behind[: -self._keep]:
            if step not in best:
                self._drop(step)

    def _drop(self, step: int) -> None:
        self._scores.pop(step, None)
        self._folder.remove(step)

    @staticmethod
    def _score_of(about: object) -> float | None:
        score = about.get("score") if isinstance(about, Mapping) else None
        return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else None
