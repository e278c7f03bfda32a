"""Row groups by pyarrow alone: what the Petastorm reader is measured against."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from sparkdl.data.manifest import Manifest
from sparkdl.data.pack import Block
from sparkdl.data.readers import AHEAD
from sparkdl.data.readers.formats import open_files
from sparkdl.data.windows import Read


class ArrowReader:
    """Reads with `threads` threads, that many ranges and two more ahead of the consumer."""

    def __init__(self, manifest: Manifest, threads: int, storage_options: Mapping[str, Any]) -> None:
        self._files = open_files(manifest, storage_options)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sparkdl-arrow")

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
