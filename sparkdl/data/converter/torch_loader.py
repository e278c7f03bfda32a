"""Batches as {column: tensor} for a training loop of the user's own, on one rank or on several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from sparkdl.data.converter.transform_spec import Transform
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.loading.prefetch import Background
from sparkdl.data.sampling.plan import Plan
from sparkdl.data.types import type_of
from sparkdl.errors import DataError, SettingError

Tensors = dict[str, torch.Tensor]

SHARDS = 8
"""Places of the data that a batch is drawn from, at least."""

GROUPS_BYTES = 1 << 30
"""What the row groups of a rank's shards may take together."""

_AHEAD = 2
_WAIT_SECONDS = 600.0
_RANK_VARIABLES = (("RANK", "WORLD_SIZE"), ("HOROVOD_RANK", "HOROVOD_SIZE"))


class TorchLoader:
    """Batches of one rank; a context manager, and inside it an iterable.

    Made by `SparkDatasetConverter.make_torch_dataloader`. Each ``for`` is a pass of `num_epochs` epochs and goes on
    counting epochs where the pass before has stopped, so that a pass for each epoch of the user's loop has an order of
    its own. A pass may be left at any batch; one that is gone on with after a newer one has begun raises DataError.
    `state_dict` says where it is, and a loader in another program goes on from there.

    Parameters
    ----------
    manifest : Manifest
        The rows.
    plan : Plan
        Made from the same manifest.
    rank, size : int
    num_epochs : int or None
        Epochs of a pass; None: without end.
    threads : int, optional
        Threads that read and decode; half of torch's by default.
    storage_options : mapping, optional
        For fsspec.
    transform : callable or None
        From {column: tensor} to {column: tensor}; run in a thread of its own.
    keep : object
        Held as long as this loader: the rows live no shorter.
    """

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        rank: int,
        size: int,
        *,
        num_epochs: int | None,
        threads: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        transform: Transform | None = None,
        keep: object = None,
    ) -> None:
        self._manifest = manifest
        self._plan = plan
        self._rank, self._size = rank, size
        self._num_epochs = num_epochs
        self._threads = threads or max(1, torch.get_num_threads() // 2)
        self._options = dict(storage_options or {})
        self._transform = transform
        self._keep = keep
        self._loader: Loader | None = None
        self._epoch = 0
        self._step = 0
        self._passed = 0
        self._resumed = False
        self._pass = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return self._plan.steps

    def __len__(self) -> int:
        """Batches of a pass; TypeError where `num_epochs` is None."""
        if self._num_epochs is None:
            raise TypeError("a loader with num_epochs=None has no length: use its steps_per_epoch")
        return self._num_epochs * self._plan.steps

    def __enter__(self) -> TorchLoader:
        if self._loader is None:
            loader = Loader(
                self._manifest,
                self._plan,
                self._rank,
                self._size,
                threads=self._threads,
                storage_options=self._options,
                wait_limit=_WAIT_SECONDS,
            )
            loader.check()
            self._loader = loader
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Tensors]:
        if self._loader is None:
            raise DataError(
                "this loader is closed: iterate inside `with converter.make_torch_dataloader(...) as loader`"
            )
        self._pass += 1
        if not self._resumed:
            # What was left of an epoch is not gone back to.
            self._epoch, self._step, self._passed = self._epoch + (self._step > 0), 0, 0
        self._resumed = False
        return self._batches(self._loader, self._pass)

    def state_dict(self) -> dict[str, int]:
        """Return the position behind the last batch that was handed out, for `load_state_dict`; a few numbers."""
        epoch, step, passed = self._epoch, self._step, self._passed
        if step >= self._plan.steps:
            epoch, step, passed = epoch + 1, 0, passed + 1
        return {"epoch": epoch, "step": step, "passed": passed}

    def load_state_dict(self, saved: Mapping[str, int]) -> None:
        """Let the next pass go on from a position: first the rest of its epoch, then what `num_epochs` leaves.

        The rows are the same, in the same order, if the rows, `batch_size`, `seed` and the other arguments are.
        """
        self._epoch, self._step, self._passed = saved["epoch"], saved["step"], saved["passed"]
        self._resumed = True

    def close(self) -> None:
        """End threads and close files; safe to call twice."""
        self._pass += 1
        loader, self._loader = self._loader, None
        if loader is not None:
            loader.close()

    def _batches(self, loader: Loader, this: int) -> Iterator[Tensors]:
        if self._plan.steps == 0:
            return
        while self._num_epochs is None or self._passed < self._num_epochs:
            self._check_turn(this)
            with closing(self._prepared(loader, self._epoch, self._step)) as batches:
                for batch in batches:
                    self._step += 1
                    yield batch
                    self._check_turn(this)
            self._epoch, self._step, self._passed = self._epoch + 1, 0, self._passed + 1
        self._passed = 0

    def _prepared(self, loader: Loader, epoch: int, first_step: int) -> Any:
        """The batches of an epoch from a step on, something with `close`."""
        if self._transform is None:
            return self._named(loader, epoch, first_step)
        return Background(self._transformed(loader, epoch, first_step, self._transform), _AHEAD, _WAIT_SECONDS)

    def _transformed(self, loader: Loader, epoch: int, first_step: int, transform: Transform) -> Iterator[Tensors]:
        with closing(self._named(loader, epoch, first_step)) as batches:
            for batch in batches:
                yield transform(batch)

    def _named(self, loader: Loader, epoch: int, first_step: int) -> Any:
        with closing(loader.epoch(epoch, first_step)) as batches:  # type: ignore[type-var]
            for batch in batches:
                yield self._by_name(batch)

    def _by_name(self, batch: Batch) -> Tensors:
        fields = self._manifest.schema.inputs
        return {
            field.name: tensor.reshape(-1) if type_of(field).stackable else _in_order(tensor)
            for field, tensor in zip(fields, batch.for_network(batch.inputs), strict=True)
        }

    def _check_turn(self, this: int) -> None:
        if self._pass != this:
            raise DataError(
                "a newer pass over this loader has begun, or it is closed: finish one pass before the next, or make "
                "a second loader"
            )


def _in_order(tensor: torch.Tensor) -> torch.Tensor:
    """Return images channel by channel in memory: what the user does with them may look at that."""
    return tensor if tensor.is_sparse else tensor.contiguous()


def shard_of(cur_shard: int | None, shard_count: int | None) -> tuple[int, int]:
    """Return (rank, size) as given, or else as the environment of this process has them; (0, 1) outside of ranks.

    Raises
    ------
    SettingError
        One of the two without the other, or a shard that is not among them.
    """
    if (cur_shard is None) != (shard_count is None):
        raise SettingError(f"cur_shard={cur_shard} and shard_count={shard_count}: give both, or none of them on a rank")
    if cur_shard is not None and shard_count is not None:
        if not 0 <= cur_shard < shard_count:
            raise SettingError(f"cur_shard={cur_shard} is not one of the shard_count={shard_count} shards from 0 on")
        return cur_shard, shard_count
    for rank, size in _RANK_VARIABLES:
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def plan_for(
    manifest: Manifest, *, batch_size: int, size: int, shuffle: bool, window: int, seed: int, drop_last: bool
) -> Plan:
    """Return the plan in which every rank has `batch_size` rows of each full step, and a window of `window` rows.

    The number of shards is a multiple of the number of ranks: only then do all ranks get equal parts of a step. A row
    group that is read in pieces is kept decoded by its shard: where they are large, a rank has fewer shards.
    """
    largest = max((rows for file in manifest.files for rows in file.row_groups), default=0)
    group_bytes = largest * sum(
        type_of(f).stored_bytes(f) for f in manifest.schema.fields if f.known and not type_of(f).late
    )
    shards = min(-(-SHARDS // size), max(1, GROUPS_BYTES // max(1, group_bytes)))
    plan = Plan.of(
        manifest,
        batch_size=batch_size * size,
        seed=seed,
        canonical_shards=size * shards,
        shuffle=shuffle,
        window=window,
        drop_last=drop_last,
    )
    # A plan's window is that of all shards together.
    return replace(plan, window=plan.window * size)
