"""The feed of one rank: batches of tensors, every planned row once, in the order of the plan."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from sparkdl.data.convert.tensors import scaled
from sparkdl.data.format.manifest import PACKED, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading.assembler import Columns, OrderedSteps, Run, ShuffledSteps
from sparkdl.data.loading.buffer_pool import Recycled
from sparkdl.data.loading.prefetch import Background
from sparkdl.data.loading.shuffle_buffer import ShuffleBuffer
from sparkdl.data.readers import AHEAD, PETASTORM, Reader, ReaderMaker, import_soon, open_reader
from sparkdl.data.sampling.plan import Plan
from sparkdl.data.types import split_packed, type_of
from sparkdl.errors import DataError, SettingError
from sparkdl.iterators import closed_at_end
from sparkdl.schema import INPUT, LABEL, WEIGHT
from sparkdl.storage import access, leases, urls

_RUN_BYTES = 4 << 20
"""Steps are put together and handed over by so many bytes of tensors at once: many small ones cost more than one."""


class Batch(NamedTuple):
    """One rank's rows of one step.

    Attributes
    ----------
    inputs, targets : tuple of Tensor
        One for each input and label, (n, *shape), float32, float64 or int64, contiguous; images as they are stored,
        uint8, in any order in memory.
    weights : Tensor or None
        (n,) float32.
    planned_rows : int
        Rows of the step over all ranks.
    images : tuple of int
        Which of the inputs are images.
    """

    inputs: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    weights: torch.Tensor | None
    planned_rows: int
    images: tuple[int, ...] = ()

    def for_network(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Return these inputs, wherever they are now, as a network takes them: images float32 in [0, 1].

        So late, because bytes are a quarter of what waits ready and of what is copied to a GPU.
        """
        if not self.images:
            return inputs
        return tuple(scaled(tensor) if index in self.images else tensor for index, tensor in enumerate(inputs))


class Loader:
    """Reads one split of the rows for one rank.

    Parameters
    ----------
    manifest : Manifest
        The files of the split.
    plan : Plan
        Made from the same manifest.
    rank, size : int
        This rank and the number of ranks; it holds the plan's shards rank, rank + size, ...
    reader : str or ReaderMaker
        "petastorm", "arrow", or what makes another one.
    threads : int
        Threads that read and decode.
    prefetch : int
        Batches that wait ready, or as many runs of small ones.
    storage_options : mapping, optional
        For fsspec.
    wait_limit : float
        Seconds that one batch may take.
    epochs : int
        Epochs that will be asked for, from 0 on, or as often the same one where rows are not shuffled: the next one is
        read ahead when the last rows of one are ready. 0: nobody knows, and none is.
    pinned : bool
        Whether batches are copied to a GPU of CUDA: they are put together in pinned memory, see `train.config.Feed`.

    Raises
    ------
    SettingError
        More ranks than the plan has shards.
    """

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        rank: int,
        size: int,
        *,
        reader: str | ReaderMaker = PETASTORM,
        threads: int = 1,
        prefetch: int = 2,
        storage_options: Mapping[str, Any] | None = None,
        wait_limit: float = 600.0,
        epochs: int = 0,
        pinned: bool = False,
    ) -> None:
        if not 0 <= rank < size or size > plan.canonical_shards:
            raise SettingError(
                f"rank {rank} of {size} cannot be fed from {plan.canonical_shards} shards: set canonicalShards to the "
                "number of ranks or more"
            )
        self._manifest = manifest
        self._plan = plan
        self._rank = rank
        self._shards = range(rank, plan.canonical_shards, size)
        self._reader_kind = reader
        self._threads = max(1, threads)
        self._prefetch = prefetch
        self._options = dict(storage_options or {})
        self._wait_limit = wait_limit
        self._epochs = epochs
        self._passes = 0
        self._decoded = manifest.format != PACKED
        self._layout = RowLayout.of(manifest.schema) if plan.rows else RowLayout((), 0)
        self._reader: Reader | None = None
        self._memory: ShuffleBuffer | None = None
        self._columns = [
            (field, Recycled(type_of(field).decoded_shape(field) if self._decoded else slot.shape, slot.dtype, pinned))
            for slot, field in zip(self._layout.slots, manifest.schema.fields, strict=False)
        ]
        self._images = tuple(index for index, field in enumerate(manifest.schema.inputs) if type_of(field).pixels)
        self._running: Background[list[Batch] | None] | None = None
        self._coming: deque[int] = deque()
        self._waited_before = 0.0
        import_soon(reader)

    @property
    def steps(self) -> int:
        """Steps of an epoch; the same on every rank."""
        return self._plan.steps

    @property
    def rows(self) -> int:
        """Rows of an epoch over all ranks."""
        return self._plan.rows

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for batches since the epoch began."""
        return 0.0 if self._running is None else self._running.wait_seconds - self._waited_before

    def check(self) -> None:
        """Raise DataError unless this host sees the files of every host that has written some."""
        by_host = {file.host: file for file in reversed(self._manifest.files)}
        for host, file in sorted(by_host.items()):
            url = urls.join(self._manifest.url, file.path)
            reader, shown = f"rank {self._rank} on host {socket.gethostname()}", access.shown(url)
            with access.explained(f"{shown}, of which {reader} reads,", url, self._options):
                try:
                    found = urls.size(url, self._options)
                except FileNotFoundError:
                    raise DataError(
                        f"{reader} does not see {shown}, written on host {host}: set cacheUrl to a folder that all "
                        "hosts share (hdfs://..., s3://..., or a shared mount), or feed='direct', which needs none"
                    ) from None
            if found != file.bytes:
                raise DataError(f"{url} has {found} bytes, {file.bytes} were written: write the rows again")

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from `start_step` on.

        Leaving early ends the reading; a new epoch ends the one before.

        Raises
        ------
        DataError
            A file has not the rows that the manifest says, or a batch takes longer than `wait_limit`.
        """
        self._renew_lease()
        running, coming = self._begin(epoch, start_step)
        try:
            for batches in running:
                if batches is None:
                    # Only now: an epoch that is left early, or not closed, has its rows in the queue.
                    self._coming = coming
                    return
                yield from batches
        finally:
            if self._coming is not coming or not coming:
                running.close()

    def close(self) -> None:
        """End threads and close files; safe to call twice."""
        self._end_reading()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _begin(self, epoch: int, start_step: int) -> tuple[Background[list[Batch] | None], deque[int]]:
        """Return what reads an epoch, and which epochs it reads after it; it may have begun before."""
        coming, self._coming = self._coming, deque()
        begun = coming and not start_step and (coming[0] == epoch or not self._plan.shuffle)
        if self._running is None or not begun:
            self._end_reading()
            passes = max(1, self._epochs - max(epoch, self._passes))
            coming = deque(range(epoch, epoch + passes))
            self._running = Background(self._epochs_from(list(coming), start_step), self._prefetch, self._wait_limit)
        coming.popleft()
        self._passes += 1
        self._waited_before = self._running.wait_seconds
        return self._running, coming

    def _end_reading(self) -> None:
        self._coming = deque()
        if self._running is not None:
            self._running.close()

    def _renew_lease(self) -> None:
        if self._manifest.lease and self._rank == 0:
            # Rows outlast many a missed renewal; training must not end for one.
            with suppress(Exception):
                leases.hold(self._manifest.url, leases.holder_of(self._manifest.lease), self._options)

    def _epochs_from(self, epochs: Sequence[int], start_step: int) -> Iterator[list[Batch] | None]:
        """Yield the batches of each epoch, the first from `start_step` on, and None behind it; in the feed's thread."""
        for epoch in epochs:
            yield from self._batches(epoch, start_step)
            yield None
            start_step = 0

    def _batches(self, epoch: int, start_step: int) -> Iterator[list[Batch]]:
        if start_step >= self._plan.steps:
            return
        if self._reader is None:
            self._reader = open_reader(self._reader_kind, self._manifest, self._threads, self._options)
        # A reader that is left early may still write into the memory that it was given: the next epoch gets another.
        memory, self._memory = self._memory, None
        steps: ShuffledSteps | OrderedSteps
        if self._plan.shuffle:
            memory = memory or ShuffleBuffer(self._plan, self._allocate, len(self._shards) + self._threads + AHEAD + 1)
            run = max(1, _RUN_BYTES // self._batch_bytes)
            steps = ShuffledSteps(self._plan, self._empty, self._shards, epoch, start_step, memory, run)
        else:
            steps = OrderedSteps(self._plan, self._layout, self._empty, self._shards, start_step)
        blocks = self._reader.blocks(steps.reads())
        delivered, step = 0, start_step
        with closed_at_end(blocks):
            for run_of_steps in steps.batches(blocks):
                delivered += sum(run_of_steps.sizes)
                yield self._to_batches(run_of_steps, step)
                step += len(run_of_steps.sizes)
            self._compare(delivered, epoch, start_step)
            if next(blocks, None) is not None:
                raise DataError(f"epoch {epoch} has rows left after its last step, in {self._manifest.url}")
            self._memory = memory

    def _allocate(self, rows: int) -> Columns:
        if self._decoded:
            return [type_of(field).empty(field, rows) for field in self._manifest.schema.fields]
        return self._layout.empty(rows)

    def _empty(self, rows: int) -> Columns:
        taken = [(field, recycled.take(rows)) for field, recycled in self._columns]
        return [type_of(field).in_shape(values, field) if self._decoded else values for field, values in taken]

    @property
    def _batch_bytes(self) -> int:
        """Of the tensors of this rank's part of a step, dense ones."""
        row = sum(
            field.size * max(4, type_of(field).stored_bytes(field) // max(1, field.size))
            for field in self._manifest.schema.fields
        )
        return max(1, row * self._plan.batch_size * len(self._shards) // self._plan.canonical_shards)

    def _compare(self, delivered: int, epoch: int, start_step: int) -> None:
        plan = self._plan
        planned = sum(plan.given(plan.steps, shard) - plan.given(start_step, shard) for shard in self._shards)
        if delivered != planned:
            raise DataError(
                f"rank {self._rank} was to get {planned} rows in epoch {epoch} and got {delivered}, from "
                f"{self._manifest.url}"
            )

    def _to_batches(self, run: Run, first_step: int) -> list[Batch]:
        parts: dict[str, list[Sequence[torch.Tensor]]] = {INPUT: [], LABEL: [], WEIGHT: []}
        for field, column in zip(self._manifest.schema.fields, run.columns, strict=True):
            parts[field.role].append(split_packed(column, field, run.sizes))
        return [
            Batch(
                tuple(tensors[index] for tensors in parts[INPUT]),
                tuple(tensors[index] for tensors in parts[LABEL]),
                parts[WEIGHT][0][index].reshape(-1) if parts[WEIGHT] else None,
                self._plan.step_rows(first_step + index),
                self._images,
            )
            for index in range(len(run.sizes))
        ]
