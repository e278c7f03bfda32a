"""Parquet that exists already: its files, what their footers say, and the fields that its columns make. No Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.convert import arrow as arrays
from sparkdl.data.format.manifest import DataFile
from sparkdl.errors import DataError
from sparkdl.storage import urls

RESULT_SCHEMA = "entry string"
_REMOTE_THREADS = 16

COMMON_METADATA, UNISCHEMA_KEY = "_common_metadata", b"dataset-toolkit.unischema.v1"
"""Where Petastorm keeps the Unischema of a data set: file, and key in its schema's metadata."""


@dataclass(frozen=True)
class SourceFile:
    """A file that is not opened yet.

    Attributes
    ----------
    path : str
        Relative to the source's url.
    bytes : int
    partition : tuple of (str, str)
        Names and values of its partition columns, as text.
    """

    path: str
    bytes: int
    partition: tuple[tuple[str, str], ...] = ()


def list_source(url: str, options: Mapping[str, Any]) -> tuple[str, list[SourceFile]]:
    """Return the folder of a source, and its files as Spark would find them, sorted.

    Names that begin with "_" or "." are left out; folders called "name=value" are partitions.

    Raises
    ------
    DataError
        There is no file.
    """
    if urls.is_local(url):
        url = urls.local_path(url)
    url = url.rstrip("/")
    if urls.is_file(url, options):
        folder, _, name = url.rpartition("/")
        return folder, [SourceFile(name, urls.size(url, options))]
    found = []
    for path, size in urls.list_files(url, options):
        folders = path.split("/")
        if not any(_hidden(name) for name in folders):
            found.append(SourceFile(path, size, tuple(_pair(name) for name in folders[:-1] if "=" in name)))
    if not found:
        raise DataError(f"there is no Parquet file in {url}: give the folder that Spark has written, or one file")
    return url, found


def constants_of(files: Sequence[SourceFile]) -> list[tuple[tuple[str, float], ...]]:
    """Return the partition columns of each file whose values are numbers in all files, as int or float."""
    names = dict.fromkeys(name for file in files for name, _ in file.partition)
    kinds = {name: _kind_of([dict(file.partition).get(name, "") for file in files]) for name in names}
    return [tuple((n, kind(v)) for n, v in file.partition if (kind := kinds[n]) is not None) for file in files]


@dataclass(frozen=True)
class FooterTask:
    """Reads footers, in a Spark task or here.

    Attributes
    ----------
    url : str
    files : tuple of SourceFile
    columns : tuple of str
        What is needed of each file.
    kinds : tuple of str
        `kind_of` each column in the first file.
    storage_options : mapping
        For fsspec.
    """

    url: str
    files: tuple[SourceFile, ...]
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read the footers of the files whose numbers come in; yield one row of JSON for each batch."""
        for batch in batches:
            entries = self.read(batch.column(0).to_pylist())
            yield pa.RecordBatch.from_pydict({"entry": [json.dumps(entries)]})

    def read(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return for each file: number, rows of each row group, nulls by column, and what is wrong with it."""
        footers = _Footers(self)
        if urls.is_local(self.url):
            return [footers.entry(number) for number in numbers]
        with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
            return list(pool.map(footers.entry, numbers))


class _Seen(NamedTuple):
    """What a schema has told, for all files that have it.

    Attributes
    ----------
    schema : pyarrow.parquet.ParquetSchema
    wrong : str
        Why its columns are not those of the first file; empty where they are.
    leaves : dict of str to list of int
        The places of the needed columns that may hold nulls.
    """

    schema: pq.ParquetSchema
    wrong: str
    leaves: dict[str, list[int]]


class _Footers:
    """Reads footers one by one; almost all have the same schema."""

    def __init__(self, task: FooterTask) -> None:
        self._task = task
        self._seen: _Seen | None = None

    def entry(self, number: int) -> dict[str, Any]:
        url = urls.join(self._task.url, self._task.files[number].path)
        try:
            with self._open(url) as opened:
                footer = opened.metadata
                seen = self._seen
                if seen is None or not footer.schema.equals(seen.schema):
                    seen = self._seen = self._look(footer.schema, opened.schema_arrow)
                nulls = {} if seen.wrong else _nulls(opened, seen.leaves)
                groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            return {"file": number, "groups": [], "nulls": {}, "wrong": f"cannot be read: {error}"}
        return {"file": number, "groups": groups, "nulls": nulls, "wrong": seen.wrong}

    @contextmanager
    def _open(self, url: str) -> Iterator[pq.ParquetFile]:
        if urls.is_local(url):
            # Arrow's own file is quicker than Python's.
            with pq.ParquetFile(urls.local_path(url)) as opened:
                yield opened
            return
        with urls.open_read(url, self._task.storage_options) as stream, pq.ParquetFile(stream) as opened:
            yield opened

    def _look(self, schema: pq.ParquetSchema, arrow: pa.Schema) -> _Seen:
        columns = self._task.columns
        leaves: dict[str, list[int]] = {}
        for index in range(len(schema)):
            leaf = schema.column(index)
            name = next((n for n in columns if leaf.path == n or leaf.path.startswith(n + ".")), None)
            if name is not None and leaf.max_definition_level:
                leaves.setdefault(name, []).append(index)
        return _Seen(schema, self._wrong(arrow), leaves)

    def _wrong(self, schema: pa.Schema) -> str:
        for name, kind in zip(self._task.columns, self._task.kinds, strict=True):
            index = schema.get_field_index(name)
            if index < 0:
                return f"has no column {name!r}, the first file has"
            if kind_of(schema.field(index).type) != kind:
                return f"has column {name!r} as {schema.field(index).type}, the first file as {kind}"
        return ""


def _nulls(opened: pq.ParquetFile, leaves: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Rows with a null in each column that has some, from the statistics where these can tell."""
    nulls: dict[str, int] = {}
    for group in range(opened.num_row_groups):
        row_group = opened.metadata.row_group(group)
        for name, places in leaves.items():
            if all(_has_none(row_group.column(index)) for index in places):
                continue
            column = opened.read_row_group(group, columns=[name], use_threads=False).column(name)
            masks = [arrays.null_rows(chunk) for chunk in column.chunks]
            count = sum(int(rows.sum()) for rows in masks if rows is not None)
            if count:
                nulls[name] = nulls.get(name, 0) + count
    return nulls


def kind_of(data_type: pa.DataType) -> str:
    """Return what a type is to a network, the same for all widths of a number."""
    if arrays.is_list(data_type):
        return f"array of {kind_of(data_type.value_type)}"
    if pa.types.is_integer(data_type) or pa.types.is_boolean(data_type):
        return "whole number"
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "number"
    if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
        return "binary"
    return str(data_type)


def data_files(url: str, files: Sequence[SourceFile], entries: Sequence[Mapping[str, Any]]) -> list[DataFile]:
    """Return the files as a manifest holds them.

    Raises
    ------
    DataError
        A file that cannot be read or has other columns; nulls, with the column and the number of rows in all files.
    """
    ordered = sorted(entries, key=lambda entry: int(entry["file"]))
    if [entry["file"] for entry in ordered] != list(range(len(files))):
        raise DataError(f"the footers of {len(files)} files in {url} were to be read, {len(ordered)} came back")
    for entry in ordered:
        if entry["wrong"]:
            raise DataError(f"{urls.join(url, files[entry['file']].path)} {entry['wrong']}")
    nulls: dict[str, int] = {}
    for entry in ordered:
        for name, count in entry["nulls"].items():
            nulls[name] = nulls.get(name, 0) + count
    if nulls:
        name, count = next(iter(nulls.items()))
        rows = "1 row" if count == 1 else f"{count:,} rows"
        raise DataError(
            f"column {name!r} has {rows} with a null in {url}: remove them, or read the DataFrame and use "
            "make_spark_converter with fill_value"
        )
    return [
        DataFile(
            path=file.path,
            partition=number,
            sequence=0,
            row_groups=tuple(entry["groups"]),
            bytes=file.bytes,
            checksum=f"{file.bytes:x}-{file.path}",
            constants=constants,
        )
        for number, (file, entry, constants) in enumerate(zip(files, ordered, constants_of(files), strict=True))
    ]


def _has_none(column: pq.ColumnChunkMetaData) -> bool:
    statistics = column.statistics
    return statistics is not None and statistics.has_null_count and statistics.null_count == 0


def _hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _pair(folder: str) -> tuple[str, str]:
    name, _, value = folder.partition("=")
    return unquote(name), unquote(value)


def _kind_of(values: Sequence[str]) -> Any:
    """`int` or `float`, whichever all values are, else None."""
    for kind in (int, float):
        try:
            for value in values:
                kind(value)
        except ValueError:
            continue
        return kind
    return None
