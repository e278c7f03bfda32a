"""What rank 0 returns where Spark would not carry it: by a file, which the rank writes and the driver takes away.

Spark collects at most `spark.driver.maxResultSize` for each job, and its driver holds that several times over. Where
driver and tasks share a host, the file lies in the temporary folder and the driver opens it. Elsewhere only tasks are
sure to have the file system and its credentials: they read it, a part for each job.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparkdl.storage import access, urls

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_NAME = "result"
_ROW_BYTES = 4 << 20


@dataclass(frozen=True)
class ResultFolder:
    """Where rank 0 may put a result; made only when there is one.

    Attributes
    ----------
    url : str
        A folder of this job alone.
    storage_options : mapping
        For fsspec; never shown.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def write(self, data: bytes) -> ResultFile:
        """Write the result, whole or not at all; called on the rank."""
        named = f"{access.shown(self.url)}, the folder for the weights,"
        with access.explained(named, self.url, self.storage_options, verb="written"):
            urls.make_folder(self.url, self.storage_options, private=True)
            url = urls.join(self.url, _NAME)
            with urls.write_atomic(url, self.storage_options) as stream:
                stream.write(data)
        return ResultFile(url, len(data))


@dataclass(frozen=True)
class ResultFile:
    """Stands for a result that lies in a file.

    Attributes
    ----------
    url : str
    bytes : int
    """

    url: str
    bytes: int


def local_folder() -> ResultFolder:
    """Return a folder on this host that is not there yet."""
    return ResultFolder(os.path.join(tempfile.gettempdir(), f"sparkdl-{uuid.uuid4().hex}"))


def remove_local(folder: ResultFolder) -> None:
    """Remove a folder of `local_folder`, if a rank has made it; the job is over."""
    # What the job has returned, or what has made it fail, matters more.
    with suppress(OSError):
        urls.remove(folder.url)


def read_here(file: ResultFile) -> bytes:
    """Return the bytes of a file on this host."""
    with urls.open_read(file.url) as stream:
        return stream.read()


def read_by_tasks(spark: SparkSession, file: ResultFile, storage_options: Mapping[str, Any], limit: int) -> bytes:
    """Return the bytes of a file that tasks can open.

    Parameters
    ----------
    spark : SparkSession
    file : ResultFile
    storage_options : mapping
    limit : int
        Bytes that one job may bring back.
    """
    parts: list[bytes] = []
    for start in range(0, file.bytes, limit):
        part = _reader(file.url, dict(storage_options), start, min(limit, file.bytes - start))
        parts += [bytes(row["data"]) for row in spark.range(1).mapInArrow(part, "data binary").collect()]
    return b"".join(parts)


def _reader(url: str, options: Mapping[str, Any], start: int, count: int) -> Any:
    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow

        for batch in batches:
            if not batch.num_rows:
                continue
            with urls.open_read(url, options) as stream:
                stream.seek(start)
                left = count
                while left:
                    chunk = stream.read(min(left, _ROW_BYTES))
                    if not chunk:
                        raise EOFError(f"{url} ends {left} bytes early")
                    left -= len(chunk)
                    yield pyarrow.RecordBatch.from_arrays([pyarrow.array([chunk], pyarrow.binary())], names=["data"])

    return read
