"""Row groups by a pool of threads of our own, or by pyarrow alone: what the Petastorm reader is measured against."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol

from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import Block
from sparkdl.data.loading.shuffle_buffer import Read, Target
from sparkdl.data.readers import AHEAD
from sparkdl.data.readers.formats import open_files
from sparkdl.data.sampling.plan import RowRange


class RangeFiles(Protocol):
    """What ranges of rows are read from, by several threads."""

    def read(self, wanted: RowRange, target: Target | None = None) -> Block:
        """Return the rows of a range, or put them into `target` and return nothing."""
        ...

    def close(self) -> None:
        """Close every file; the threads that read have ended."""
        ...


class PooledReader:
    """Reads with `threads` threads, that many ranges and two more ahead of the consumer."""

    def __init__(self, files: RangeFiles, threads: int) -> None:
        self._files = files
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sparkdl-read")

    def blocks(self, reads: Iterable[Read]) -> Iterator[Block]:
        """Yield the rows of each range, in order."""
        wanted = iter(reads)
        ahead: deque[Future[Block]] = deque(self._read_soon(wanted, self._threads + AHEAD))
        try:
            while ahead:
                block = ahead.popleft().result()
                ahead.extend(self._read_soon(wanted, 1))
                yield block
        finally:
            for future in ahead:
                future.cancel()

    def close(self) -> None:
        """End the threads and close the files."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._files.close()

    def _read_soon(self, wanted: Iterator[Read], count: int) -> list[Future[Block]]:
        return [self._pool.submit(self._files.read, *one) for one in islice(wanted, count)]


class ArrowReader(PooledReader):
    """Reads the files of a manifest."""

    def __init__(self, manifest: Manifest, threads: int, storage_options: Mapping[str, Any]) -> None:
        super().__init__(open_files(manifest, storage_options), threads)
