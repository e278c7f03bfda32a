"""Blocks of a direct feed: read from the spool file of this host, or from the task on another host that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sparkdl.data.direct.blocks import first_blocks, from_index, other_rows, row_bytes_of
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import Block, RowLayout, Rows
from sparkdl.data.loading.shuffle_buffer import Target, piece_rows
from sparkdl.data.readers.thread_pool import PooledReader
from sparkdl.data.sampling.plan import RowRange
from sparkdl.errors import DataError


class SpoolSource(Protocol):
    """The spool file of one task; `sparkdl.cluster.job.SpoolSource` has the meaning of each."""

    @property
    def host(self) -> str: ...

    @property
    def index(self) -> Any: ...

    def read(self, offset: int, size: int) -> bytes: ...


class Spooled:
    """All blocks of a fit, in the spool files of its tasks.

    Parameters
    ----------
    spool_sources : sequence of SpoolSource
        One for each task, whose index is that of `sparkdl.data.direct.spooling.ingest_rows`.
    manifests : sequence of Manifest
        Of all splits, in the order in which their blocks are numbered.

    Raises
    ------
    DataError
        A block is in no file, or in two.
    """

    def __init__(self, spool_sources: Sequence[SpoolSource], manifests: Sequence[Manifest]) -> None:
        files = [file for manifest in manifests for file in manifest.files]
        rows = np.array([rows for file in files for rows in file.row_groups], dtype=np.int64)
        self._first_files = [0]
        for manifest in manifests:
            self._first_files.append(self._first_files[-1] + len(manifest.files))
        self._first_blocks = first_blocks(file.row_groups for file in files)
        self._spool_sources = spool_sources
        self._holder = np.full(len(rows), -1, dtype=np.int64)
        self._offset = np.zeros(len(rows), dtype=np.int64)
        sizes = rows * row_bytes_of(manifests)
        for number, spool_source in enumerate(spool_sources):
            blocks = from_index(spool_source.index)
            if len(blocks) and (blocks.max() >= len(rows) or (self._holder[blocks] >= 0).any()):
                raise other_rows(f"the task on host {spool_source.host} holds a block that another one holds too")
            self._holder[blocks] = number
            self._offset[blocks] = np.cumsum(sizes[blocks]) - sizes[blocks]
        missing = int((self._holder < 0).sum())
        if missing:
            raise other_rows(f"{missing} of the {len(rows)} blocks that were counted came to no task")

    def reader(self, split: int) -> Any:
        """Return what makes the reader of one split, for `Loader`."""

        def make(manifest: Manifest, threads: int, storage_options: Mapping[str, Any]) -> PooledReader:
            return PooledReader(SpooledRows(self, split, manifest), threads)

        return make

    def find(self, split: int, wanted: RowRange) -> tuple[SpoolSource, int]:
        """Return who holds a block, and where it begins there."""
        block = self._first_blocks[self._first_files[split] + wanted.file] + wanted.row_group
        return self._spool_sources[int(self._holder[block])], int(self._offset[block])


class SpooledRows:
    """Ranges of rows of one split."""

    def __init__(self, spooled: Spooled, split: int, manifest: Manifest) -> None:
        self._spooled = spooled
        self._split = split
        self._manifest = manifest
        self._layout = RowLayout.of(manifest.schema)
        self._piece_rows = piece_rows(self._layout)

    def read(self, wanted: RowRange, target: Target | None = None) -> Block:
        """Return the rows of a range, or put them into `target`; DataError names the block that cannot be read."""
        rows = self._packed(wanted)
        if target is None:
            return rows
        for first in range(0, len(rows), self._piece_rows):
            target.scatter_packed(self._layout, first, rows[first : first + self._piece_rows])
        return {}

    def close(self) -> None:
        """Leave the files open: they are the rank's."""

    def _packed(self, wanted: RowRange) -> Rows:
        spool_source, offset = self._spooled.find(self._split, wanted)
        size = self._layout.row_bytes
        try:
            data = spool_source.read(offset + wanted.start * size, (wanted.stop - wanted.start) * size)
        except OSError as error:
            name = self._manifest.files[wanted.file].path
            raise DataError(
                f"block {wanted.row_group} of the {name}, which host {spool_source.host} holds, cannot be read: {error}"
            ) from error
        return np.frombuffer(data, dtype=self._layout.dtype)
