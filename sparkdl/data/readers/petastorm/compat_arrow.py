"""The few classes of pyarrow's old Parquet API that Petastorm calls, written on today's pyarrow.

pyarrow 15 took away ``pyarrow.filesystem``, ``pyarrow.hdfs`` and the old ``ParquetDataset`` with its pieces
and partitions. Petastorm 0.12.1 and 0.13.1 still ask for them; `compat` hands these to Petastorm's
modules and to nobody else. Names and arguments are pyarrow's of that time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

PartitionKeys = tuple[tuple[str, int], ...]
"""Name of each partition column, and the index of the value in its `Partition.keys`."""


class ArrowFiles:
    """A `pyarrow.fs.FileSystem` under the names of the old file systems, which are those of fsspec too."""

    def __init__(self, filesystem: pyarrow.fs.FileSystem) -> None:
        self._filesystem = filesystem

    def to_arrow(self) -> pyarrow.fs.FileSystem:
        return self._filesystem

    def open(self, path: str, mode: str = "rb") -> pa.NativeFile:
        if mode == "wb":
            return self._filesystem.open_output_stream(path)
        return self._filesystem.open_input_file(path)

    def exists(self, path: str) -> bool:
        return bool(self._filesystem.get_file_info(path).type != pyarrow.fs.FileType.NotFound)

    def isdir(self, path: str) -> bool:
        return bool(self._filesystem.get_file_info(path).type == pyarrow.fs.FileType.Directory)

    def rm(self, path: str, recursive: bool = False) -> None:
        if recursive and self.isdir(path):
            self._filesystem.delete_dir(path)
        else:
            self._filesystem.delete_file(path)

    delete = rm


class LocalFileSystem(ArrowFiles):
    """``pyarrow.filesystem.LocalFileSystem``."""

    def __init__(self) -> None:
        super().__init__(pyarrow.fs.LocalFileSystem())


class HadoopFileSystem(ArrowFiles):
    """``pyarrow.hdfs.HadoopFileSystem``; needs libhdfs, as pyarrow does."""

    def __init__(self, host: str = "default", port: int = 0, user: str | None = None) -> None:
        super().__init__(pyarrow.fs.HadoopFileSystem(host, port, user=user))


def to_arrow(filesystem: Any) -> pyarrow.fs.FileSystem:
    """Return the Arrow file system behind one of ours, of pyarrow's, or of fsspec's."""
    if isinstance(filesystem, ArrowFiles):
        return filesystem.to_arrow()
    if filesystem is None:
        return pyarrow.fs.LocalFileSystem()
    if isinstance(filesystem, pyarrow.fs.FileSystem):
        return filesystem
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))


@dataclass(frozen=True)
class Partition:
    """A partition column: its name and its distinct values, as text, in order of appearance."""

    name: str
    keys: tuple[str, ...]

    @property
    def dictionary(self) -> pa.Array:
        """The values as int64 where all of them are whole numbers, else as strings."""
        try:
            return pa.array([int(key) for key in self.keys], pa.int64())
        except ValueError:
            return pa.array(self.keys, pa.string())


class Partitions(list[Partition]):
    """``ParquetPartitions``: the partition columns from the outermost folder inwards."""

    @property
    def partition_names(self) -> set[str]:
        return {partition.name for partition in self}


class ParquetDatasetPiece:
    """``ParquetDatasetPiece``: a file, or one row group of it.

    Parameters
    ----------
    path : str
        File.
    open_file_func : callable of str
        Returns a readable file.
    row_group : int or None
        All row groups when None.
    partition_keys : sequence of (str, int)
        Partition columns of the file.
    """

    def __init__(
        self,
        path: str,
        open_file_func: Callable[[str], Any],
        row_group: int | None = None,
        partition_keys: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.path = path
        self.row_group = row_group
        self.partition_keys = tuple(partition_keys)
        self._open = open_file_func

    def get_metadata(self) -> pq.FileMetaData:
        with self._open(self.path) as file:
            return pq.read_metadata(file)

    def read(self, columns: Iterable[str] | None = None, partitions: Partitions | None = None) -> pa.Table:
        """Return the rows as a table: `columns` in the order of the file, then the partition columns."""
        with self._open(self.path) as file, pq.ParquetFile(file) as parquet:
            wanted = None if columns is None else set(columns)
            names = [n for n in parquet.schema_arrow.names if wanted is None or n in wanted]
            if self.row_group is None:
                table = parquet.read(columns=names)
            else:
                table = parquet.read_row_group(self.row_group, columns=names)
        columns_of = {p.name: p for p in partitions or ()}
        for name, index in self.partition_keys:
            value = columns_of[name].dictionary[index]
            table = table.append_column(name, pa.repeat(value, table.num_rows))
        return table


class ParquetDataset:
    """``ParquetDataset`` with `validate_schema`: the Parquet files below a folder, or the files of a list.

    Parameters
    ----------
    path_or_paths : str or list of str
        Folder (Hive partitions are recognised), file, or files.
    filesystem : ArrowFiles, pyarrow.fs.FileSystem, fsspec file system or None
        None: the local one.
    filters : list of tuples, or list of lists of tuples, optional
        Conditions (column, operator, value) on partition columns, the inner ones joined by AND, the outer by
        OR; conditions on other columns keep every file, as they did in the old API.
    validate_schema, metadata_nthreads
        Taken and not used: schemas are not compared, and opening is lazy.
    """

    def __init__(
        self,
        path_or_paths: str | list[str],
        filesystem: Any = None,
        validate_schema: bool = False,
        metadata_nthreads: int = 1,
        filters: list[Any] | None = None,
    ) -> None:
        arrow = to_arrow(filesystem)
        self.fs = ArrowFiles(arrow) if filesystem is None or filesystem is arrow else filesystem
        self.paths = path_or_paths
        root = path_or_paths if isinstance(path_or_paths, str) else None
        self.metadata_path = self._existing(root, "_metadata")
        self.common_metadata_path = self._existing(root, "_common_metadata")
        self.metadata = self._read(self.metadata_path)
        self.common_metadata = self._read(self.common_metadata_path)
        files = _list_files(path_or_paths, arrow)
        self.partitions = _partitions_of(keys for _, keys in files)
        pieces = [self._piece(path, keys) for path, keys in files if _accepted(dict(keys), filters)]
        self.pieces = sorted(pieces, key=operator.attrgetter("path"))

    def _existing(self, root: str | None, name: str) -> str | None:
        path = None if root is None else f"{root.rstrip('/')}/{name}"
        return path if path is not None and self.fs.exists(path) else None

    def _read(self, path: str | None) -> pq.FileMetaData | None:
        if path is None:
            return None
        with self.fs.open(path) as file:
            return pq.read_metadata(file)

    def _piece(self, path: str, keys: Sequence[tuple[str, str]]) -> ParquetDatasetPiece:
        by_name = {p.name: p.keys for p in self.partitions or ()}
        indices = tuple((name, by_name[name].index(key)) for name, key in keys)
        return ParquetDatasetPiece(path, self.fs.open, partition_keys=indices)


def _list_files(
    path_or_paths: str | list[str], filesystem: pyarrow.fs.FileSystem
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each file with the names and values of its partition folders."""
    if isinstance(path_or_paths, list):
        if len(path_or_paths) > 1:
            return [(path, []) for path in path_or_paths]
        path_or_paths = path_or_paths[0]
    # Values stay text here: Petastorm knows int64 and string only, Arrow would guess int32.
    found = pyarrow.dataset.dataset(path_or_paths, filesystem=filesystem, format="parquet", partitioning=None)
    base = path_or_paths.rstrip("/") + "/"
    return [(path, _hive_keys(path.removeprefix(base))) for path in found.files]


def _hive_keys(relative_path: str) -> list[tuple[str, str]]:
    folders = relative_path.split("/")[:-1]
    pairs = (folder.partition("=") for folder in folders)
    return [(name, value) for name, equals, value in pairs if equals]


def _partitions_of(keys_of_files: Iterable[Sequence[tuple[str, str]]]) -> Partitions | None:
    values: dict[str, dict[str, None]] = {}
    for keys in keys_of_files:
        for name, value in keys:
            values.setdefault(name, {})[value] = None
    return Partitions(Partition(name, tuple(found)) for name, found in values.items()) or None


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "in": lambda value, allowed: value in allowed,
    "not in": lambda value, refused: value not in refused,
}


def _accepted(keys: dict[str, str], filters: list[Any] | None) -> bool:
    """Tell whether a file with these partition values can hold rows that pass the filters."""
    if not filters:
        return True
    alternatives = filters if isinstance(filters[0], list) else [filters]
    return any(all(_holds(keys, *condition) for condition in _conditions(a)) for a in alternatives)


def _conditions(alternative: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str, Any]]:
    for column, name, value in alternative:
        if name not in _OPERATORS:
            raise ValueError(
                f"filters: {name!r} on column {column!r} is no operator, use one of {', '.join(_OPERATORS)}"
            )
        yield column, name, value


def _holds(keys: dict[str, str], column: str, name: str, value: Any) -> bool:
    if column not in keys:
        return True
    sample = next(iter(value)) if name in ("in", "not in") else value
    return bool(_OPERATORS[name](type(sample)(keys[column]), value))
