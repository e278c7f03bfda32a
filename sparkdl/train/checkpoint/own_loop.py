"""Checkpoints of a training loop of one's own, as in a function for `HorovodRunner`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from sparkdl.errors import PersistenceError, SettingError, invalid
from sparkdl.storage import access, urls
from sparkdl.train.checkpoint.folder import CheckpointFolder, snapshot
from sparkdl.train.checkpoint.writer import Writer

_log = logging.getLogger(__name__)


class Checkpoint(AbstractContextManager["Checkpoint"]):
    """Checkpoints in one folder: rank 0 writes them in a thread, every rank reads them.

    Parameters
    ----------
    url : str
        Folder of this training, which all hosts can reach.
    storage_options : mapping, optional
        For fsspec.
    keep : int
        Checkpoints that stay: so many of the last ones.

    Attributes
    ----------
    values : dict
        What `restore` has found besides the states of the objects that it was given.

    Examples
    --------
    >>> with Checkpoint("hdfs:///runs/7") as checkpoint:  # doctest: +SKIP
    ...     step = checkpoint.restore(model=model, optimizer=optimizer)
    ...     for step in range(step + 1, steps + 1):
    ...         train_one_step()
    ...         if step % 100 == 0:
    ...             checkpoint.save(step, model=model, optimizer=optimizer)
    """

    __module__ = "sparkdl.train"

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None, keep: int = 3) -> None:
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
            raise SettingError(invalid("keep", keep, "an integer >= 1"))
        access.check_form("url", url)
        self._url = urls.local_path(url) if urls.is_local(url) else url
        self._options = dict(storage_options or {})
        self._folder = CheckpointFolder(self._url, self._options)
        self._writer = Writer(self._folder, keep, False, _log.warning)
        self.values: dict[str, Any] = {}

    def save(self, step: int, **state: Any) -> None:
        """Take a checkpoint and begin to write it; on ranks other than 0 nothing happens.

        The call waits for a copy in host memory, and for the checkpoint before to be written. One that cannot be
        written is a warning in the log, and training goes on.

        Parameters
        ----------
        step : int
            By which it is found; one of the same step is replaced.
        **state
            By name: objects with ``state_dict()`` (networks, optimizers, schedules, loaders), or values: tensors,
            numbers and texts, also in lists and dicts.

        Raises
        ------
        SettingError
            The step is none.
        PersistenceError
            A checkpoint cannot hold something of the state.
        """
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise SettingError(invalid("step", step, "an integer >= 0"))
        if _rank():
            return
        held = {name: each.state_dict() if hasattr(each, "state_dict") else each for name, each in state.items()}
        taken = snapshot(step, held, {"names": sorted(held)})
        self._writer.write(taken)

    def restore(self, step: int | None = None, **objects: Any) -> int:
        """Give objects the state of the last checkpoint that is whole; return its step, 0 where there is none.

        Call it on every rank, before the first `save` of any.

        Parameters
        ----------
        step : int, optional
            Of the checkpoint; the last one by default.
        **objects
            By name: objects with ``load_state_dict(state)``.

        Raises
        ------
        ClusterError
            The folder cannot be opened.
        PersistenceError
            There is no whole checkpoint of that step, or it lacks one of the names.
        """
        with access.explained(f"url={access.shown(self._url)!r}", self._url, self._options):
            there = self._folder.steps()
        for candidate in reversed(there) if step is None else [step]:
            try:
                state, _ = self._folder.read(candidate)
            except PersistenceError as error:
                if step is not None:
                    raise PersistenceError(
                        f"the checkpoint of step {step} in {access.shown(self._url)}: {error}"
                    ) from error
                _log.warning("the checkpoint of step %d is passed over: %s", candidate, error)
                continue
            missing = sorted(objects.keys() - state.keys())
            if missing:
                raise PersistenceError(
                    f"the checkpoint of step {candidate} in {access.shown(self._url)} has no {missing[0]!r}: it has "
                    + ", ".join(sorted(state))
                )
            for name, each in objects.items():
                each.load_state_dict(state[name])
            self.values = {name: value for name, value in state.items() if name not in objects}
            return candidate
        return 0

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("HOROVOD_RANK", "0")))
