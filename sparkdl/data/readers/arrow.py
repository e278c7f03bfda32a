"""Row groups by pyarrow alone: what the Petastorm reader is measured against."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from sparkdl.data.manifest import Manifest
from sparkdl.data.pack import Rows
from sparkdl.data.plan import RowRange
from sparkdl.data.readers.formats import open_files

_AHEAD = 2


class ArrowReader:
    """Reads with `threads` threads, that many ranges and two more ahead of the consumer."""

    def __init__(self, manifest: Manifest, threads: int, storage_options: Mapping[str, Any]) -> None:
        self._files = open_files(manifest, storage_options)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sparkdl-arrow")

    def blocks(self, ranges: Iterable[RowRange]) -> Iterator[Rows]:
        """Yield the packed rows of each range, in order."""
        wanted = iter(ranges)
        ahead: deque[Future[Rows]] = deque(self._read_soon(wanted, self._threads + _AHEAD))
        try:
            while ahead:
                rows = ahead.popleft().result()
                ahead.extend(self._read_soon(wanted, 1))
                yield rows
        finally:
            for future in ahead:
                future.cancel()

    def close(self) -> None:
        """End the threads and close the files."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._files.close()

    def _read_soon(self, wanted: Iterator[RowRange], count: int) -> list[Future[Rows]]:
        return [self._pool.submit(self._files.read, one) for one in islice(wanted, count)]
