"""Parquet of other programs that cannot be opened or read: one sentence with the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data import open_parquet
from sparkdl.errors import ClusterError, DataError, SettingTypeError
from tests.bad_input.case import Case, check, each

NUMBERS = pa.table({"x": [float(i) for i in range(1000)]})
ALLOWED = r"\(numbers, .* and bytes of fixed length can\): leave it out by columns=\[...\]"
NO_PARQUET = r"Parquet magic bytes not found in footer.*"


def written(table: pa.Table, change: Callable[[bytearray], Any] = lambda content: None) -> Callable[[Path], Any]:
    """What reads a file with a table after a change of its bytes."""

    def read(folder: Path) -> list[Any]:
        path = folder / "rows.parquet"
        pq.write_table(table, path, compression="snappy")
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)
        with open_parquet(folder).make_torch_dataloader(num_epochs=1) as batches:
            return list(batches)

    return read


def content(name: str, content: bytes) -> Callable[[Path], Any]:
    """What opens a file of that content."""

    def read(folder: Path) -> Any:
        (folder / name).write_bytes(content)
        return open_parquet(str(folder))

    return read


def zeroed(content: bytearray) -> None:
    content[10:200] = bytes(190)


def halved(content: bytearray) -> None:
    del content[len(content) // 2 :]


CASES: list[Case] = [
    Case(
        "no-url",
        lambda folder: open_parquet(3),
        SettingTypeError,
        "invalid url=3: expected a path or a URL as text, or a Path",
    ),
    Case(
        "no-folder", lambda folder: open_parquet(folder / "none"), DataError, "there is no Parquet file in .*/none: .*"
    ),
    Case("empty-folder", open_parquet, DataError, "there is no Parquet file in .*: give the folder that Spark has .*"),
    Case(
        "unknown-scheme",
        lambda folder: open_parquet("foo://host/rows"),
        ClusterError,
        "no package of this Python opens foo://, pip install the fsspec package for it on the driver and the executors",
    ),
    Case(
        "empty-file", content("a.parquet", b""), DataError, ".*/a.parquet cannot be read: Parquet file size is 0 bytes"
    ),
    Case("text", content("a.parquet", b"no Parquet at all"), DataError, f".*/a.parquet cannot be read: {NO_PARQUET}"),
    Case("csv", content("part-0.csv", b"x\n1\n2\n" * 9), DataError, f".*/part-0.csv cannot be read: {NO_PARQUET}"),
    Case("half-a-file", written(NUMBERS, halved), DataError, f".*/rows.parquet cannot be read: {NO_PARQUET}"),
    Case(
        "bytes-in-the-middle",
        written(NUMBERS, zeroed),
        DataError,
        ".*/rows.parquet, 1,?000 rows written on an executor, cannot be read: .*",
    ),
    Case(
        "text-column",
        written(pa.table({"name": ["a"]})),
        DataError,
        f"column 'name' is string and cannot go into a network {ALLOWED}",
    ),
    Case(
        "map-column",
        written(pa.table({"map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))})),
        DataError,
        f"column 'map' is map<.*> and cannot go into a network {ALLOWED}",
    ),
    Case(
        "null-column",
        written(pa.table({"void": pa.nulls(2)})),
        DataError,
        f"column 'void' is null and cannot go into a network {ALLOWED}",
    ),
    Case(
        "null",
        written(pa.table({"x": [1.0, None]})),
        DataError,
        "column 'x' has 1 row with a null in .*: remove them, or read the DataFrame and use make_spark_converter .*",
    ),
]


@each(CASES)
def test_what_cannot_be_read(tmp_path: Path, case: Case) -> None:
    check(case, tmp_path)
