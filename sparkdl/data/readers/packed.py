"""Row groups of packed rows, compared with what the manifest says of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import Block, RowLayout, Rows
from sparkdl.data.loading.shuffle_buffer import Target, piece_rows
from sparkdl.data.sampling.plan import RowRange
from sparkdl.errors import DataError
from sparkdl.storage import urls

_OPEN_FILES = 32
_PAGE_HEADER_BYTES = range(12, 34)
"""What Thrift makes of one page's header, without statistics; that of two pages is longer."""


class RowGroupFiles:
    """Reads ranges of rows; each thread has its own open files, the least recently used are closed."""

    def __init__(self, manifest: Manifest, storage_options: Mapping[str, Any]) -> None:
        self._manifest = manifest
        self._layout = RowLayout.of(manifest.schema)
        self._dtype = self._layout.dtype
        self._piece_rows = piece_rows(self._layout)
        self._options = dict(storage_options)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[OrderedDict[int, tuple[pq.ParquetFile, IO[bytes]]]] = []

    def url(self, file: int) -> str:
        """Return where the file of that number lies."""
        return urls.join(self._manifest.url, self._manifest.files[file].path)

    def read(self, wanted: RowRange, target: Target | None = None) -> Block:
        """Return the rows of a range, or put them into `target` and return nothing.

        DataError if the row group has not the rows that the manifest says.
        """
        count = wanted.stop - wanted.start
        start = self._start_of_rows(wanted)
        if target is None:
            return self._packed(wanted) if start is None else self._bytes(wanted, start, np.empty(count, self._dtype))
        if start is None:
            target.scatter_packed(self._layout, 0, self._packed(wanted))
            return {}
        piece = np.empty(self._piece_rows, self._dtype)
        for first in range(0, count, len(piece)):
            rows = piece[: count - first]
            rows = self._bytes(wanted, start + first * self._layout.row_bytes, rows)
            target.scatter_packed(self._layout, first, rows)
        return {}

    def _packed(self, wanted: RowRange) -> Rows:
        rows: Rows = self._layout.from_table(self._row_group(wanted))[wanted.start : wanted.stop]
        return rows

    def _start_of_rows(self, wanted: RowRange) -> int | None:
        """Where the rows of a range begin in the file, if their row group is one page, as it lies in memory."""
        group = self._file(wanted.file).metadata.row_group(wanted.row_group)
        self._compare_rows(wanted, group.num_rows)
        column = group.column(0)
        packed = group.num_rows * self._layout.row_bytes
        header = column.total_compressed_size - packed
        plain = column.compression == "UNCOMPRESSED" and not column.has_dictionary_page
        if not plain or header not in _PAGE_HEADER_BYTES or column.total_uncompressed_size - packed != header:
            return None
        start: int = column.data_page_offset + header + wanted.start * self._layout.row_bytes
        return start

    def _bytes(self, wanted: RowRange, start: int, rows: Rows) -> Rows:
        """Fill packed rows with what stands in the file from `start` on."""
        stream = self._files_of_thread()[wanted.file][1]
        view, done = memoryview(rows.view(np.uint8).data), 0
        try:
            stream.seek(start)
            while done < len(view) and (read := _read_into(stream, view[done:])):
                done += read
        except OSError as error:
            raise self._broken(wanted.file, error) from error
        if done < len(view):
            raise self._broken(wanted.file, EOFError(f"row group {wanted.row_group} ends too early"))
        return rows

    def _row_group(self, wanted: RowRange, columns: Sequence[str] | None = None) -> pa.Table:
        """Decode a row group whole."""
        file = self._file(wanted.file)
        try:
            table = file.read_row_group(wanted.row_group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._broken(wanted.file, error) from error
        self._compare_rows(wanted, table.num_rows)
        return table

    def _compare_rows(self, wanted: RowRange, rows: int) -> None:
        expected = self._manifest.files[wanted.file].row_groups[wanted.row_group]
        if rows != expected:
            raise DataError(
                f"row group {wanted.row_group} of {self.url(wanted.file)} has {rows} rows, "
                f"{expected} were written: the file was changed, write the rows again (a new fit does)"
            )

    def open_all(self) -> None:
        """Open each file once; DataError names the first that is missing or not what was written."""
        for number in range(len(self._manifest.files)):
            self._file(number)

    def close(self) -> None:
        """Close every file; the threads that read must have ended."""
        with self._lock:
            for files in self._open:
                for opened in files.values():
                    _close(opened)
                files.clear()

    def _file(self, number: int) -> pq.ParquetFile:
        files = self._files_of_thread()
        if number in files:
            files.move_to_end(number)
            return files[number][0]
        opened, stream = self._opened(number)
        files[number] = (opened, stream)
        self._compare(number, opened)
        if len(files) > _OPEN_FILES:
            _close(files.popitem(last=False)[1])
        return opened

    def _opened(self, number: int) -> tuple[pq.ParquetFile, IO[bytes]]:
        url = self.url(number)
        try:
            # Arrow's own file needs no lock of Python's and no copy.
            stream = pa.OSFile(urls.local_path(url)) if urls.is_local(url) else urls.open_read(url, self._options)
        except OSError as error:
            raise self._broken(number, error) from error
        try:
            return pq.ParquetFile(stream), stream
        except (OSError, pa.ArrowException) as error:
            stream.close()
            raise self._broken(number, error) from error

    def _files_of_thread(self) -> OrderedDict[int, tuple[pq.ParquetFile, IO[bytes]]]:
        files: OrderedDict[int, tuple[pq.ParquetFile, IO[bytes]]] | None = getattr(self._local, "files", None)
        if files is None:
            files = self._local.files = OrderedDict()
            with self._lock:
                self._open.append(files)
        return files

    def _compare(self, number: int, opened: pq.ParquetFile) -> None:
        file: DataFile = self._manifest.files[number]
        metadata = opened.metadata
        if metadata.num_rows != file.rows or metadata.num_row_groups != len(file.row_groups):
            raise DataError(
                f"{self.url(number)} has {metadata.num_rows} rows in {metadata.num_row_groups} row groups, "
                f"{file.rows} rows in {len(file.row_groups)} were written: write the rows again (a new fit does)"
            )
        self._check_schema(number, opened)

    def _check_schema(self, number: int, opened: pq.ParquetFile) -> None:
        stored = opened.schema_arrow
        if not stored.equals(self._layout.arrow_schema):
            raise DataError(
                f"{self.url(number)} holds {stored.to_string(show_field_metadata=False)!r}, not packed rows of "
                f"{self._layout.row_bytes} bytes: another program has written it"
            )

    def _broken(self, number: int, error: Exception) -> DataError:
        file = self._manifest.files[number]
        return DataError(
            f"{self.url(number)}, {file.rows} rows written on {file.host or 'an executor'}, cannot be read: {error}"
        )


def _read_into(stream: Any, view: memoryview) -> int:
    """Fill a part of `view` with what comes next, and return how much; 0 at the end."""
    try:
        return int(stream.readinto(view))
    # Some file systems of fsspec only hand out bytes of their own.
    except (AttributeError, NotImplementedError):
        data = stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _close(opened: tuple[pq.ParquetFile, IO[bytes]]) -> None:
    opened[0].close()
    opened[1].close()
