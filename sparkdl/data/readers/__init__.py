"""Who reads the row groups: Petastorm, or pyarrow alone. All readers give the same blocks in the same order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import Block
from sparkdl.data.loading.shuffle_buffer import Read
from sparkdl.errors import SettingError

PETASTORM = "petastorm"
ARROW = "arrow"


AHEAD = 2
"""A reader has asked for so many ranges, and one for each of its threads, that the consumer does not have yet."""


class Reader(Protocol):
    """Reads rows; used by one thread at a time."""

    def blocks(self, reads: Iterable[Read]) -> Iterator[Block]:
        """Yield the rows of each range, in the order of the reads, a few of them read ahead.

        The generator may be closed before its end. DataError names the file whose rows are not those of the manifest.
        """
        ...

    def close(self) -> None:
        """End threads and close files; safe to call twice."""
        ...


ReaderMaker = Callable[[Manifest, int, Mapping[str, Any]], Reader]
"""Of manifest, number of threads and storage options."""


def open_reader(
    kind: str | ReaderMaker, manifest: Manifest, threads: int, storage_options: Mapping[str, Any]
) -> Reader:
    """Return a reader with this many decoding threads: "petastorm", "arrow", or what makes another one."""
    make: Any = _reader_class(kind) if isinstance(kind, str) else kind
    reader: Reader = make(manifest, threads, storage_options)
    return reader


def import_soon(name: str | ReaderMaker) -> None:
    """Begin to import a reader in a thread: Petastorm brings pandas with it, while a rank waits for the others."""
    if not isinstance(name, str):
        return

    def begin() -> None:
        # What cannot be imported is raised where the reader is opened.
        with suppress(ImportError, SettingError):
            _reader_class(name)

    threading.Thread(target=begin, name="sparkdl-import", daemon=True).start()


def import_now(name: str) -> None:
    """Import a reader."""
    _reader_class(name)


def _reader_class(name: str) -> type:
    if name == PETASTORM:
        from sparkdl.data.readers.petastorm.reader import PetastormReader

        return PetastormReader
    if name == ARROW:
        from sparkdl.data.readers.thread_pool import ArrowReader

        return ArrowReader
    raise SettingError(f"reader {name!r} is unknown: choose {PETASTORM!r} or {ARROW!r}")
