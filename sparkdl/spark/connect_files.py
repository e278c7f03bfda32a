"""Folders on the file systems of a Spark Connect server, by what its client can ask for: DataFrames and copies."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from sparkdl.errors import PersistenceError

_CHUNK = 4 << 20
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")


def exists(spark: Any, url: str) -> bool:
    """Whether there is a file or a folder."""
    try:
        # Reading is planned on the server, which looks for the path then.
        _ = spark.read.format("binaryFile").load(_literal(url)).schema
        found = spark.read.format("binaryFile").load(_literal(url)).select("path").limit(1)
        found.collect()
    except Exception as error:
        if "PATH_NOT_FOUND" in str(error):
            return False
        raise
    return True


def upload(spark: Any, sources: list[tuple[Path, tuple[str, ...]]], url: str) -> None:
    """Replace what is at `url` by files of the client.

    Parameters
    ----------
    spark : SparkSession
        Of Spark Connect.
    sources : list of (Path, tuple of str)
        Each file, and its place below `url`; the last one is written last.
    url : str
        Without a scheme: the client can copy to the server's ``fs.defaultFS`` only.

    Raises
    ------
    PersistenceError
        If `url` has a scheme or is relative.
    """
    if _SCHEME.match(url) or not url.startswith("/"):
        raise PersistenceError(
            f"{url}: over Spark Connect a stage is saved to an absolute path without a scheme, on the server's "
            "fs.defaultFS: give such a path, or save in a classic session"
        )
    if exists(spark, url):
        _empty(spark, url)
    for source, parts in sources:
        spark.copyFromLocalToFs(str(source), "/".join((url.rstrip("/"), *parts)))


def download(spark: Any, url: str, folder: Path) -> None:
    """Copy all files below `url` into a local folder, in pieces that a message of Spark Connect can hold.

    Empty ones are left out: Spark's readers do not see them.

    Raises
    ------
    PersistenceError
        If there is nothing.
    """
    if not exists(spark, url):
        raise PersistenceError(f"{url}: there is nothing to load")
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(_literal(url))
    folder.mkdir()
    (size,) = files.selectExpr("coalesce(sum(length), 0L)").collect()[0]
    check_space(size, folder, url)
    pieces = files.selectExpr(
        "path", "content", f"explode(sequence(0L, greatest(length - 1, 0L) div {_CHUNK})) as piece"
    ).selectExpr("path", "piece", f"substring(content, int(piece * {_CHUNK} + 1), {_CHUNK}) as bytes")
    for row in pieces.toLocalIterator():
        target = folder / _below(row["path"], url)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "r+b" if target.exists() else "w+b") as file:
            file.seek(row["piece"] * _CHUNK)
            file.write(row["bytes"])


def check_space(size: int, folder: Path, url: str) -> None:
    """Refuse to copy more than there is room for, before the disk is full.

    Raises
    ------
    PersistenceError
        Says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PersistenceError(f"{url} has {size:,} bytes, and {folder.parent} has {free:,} left for a copy of it")


def _empty(spark: Any, url: str) -> None:
    """Remove what is in a folder: no rows, written over it, leave no file where the writing is by partitions."""
    nothing = spark.range(0).selectExpr("'' as value", "id as part")
    options = {"partitionOverwriteMode": "static", "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
    nothing.write.mode("overwrite").options(**options).partitionBy("part").text(url)


def _literal(url: str) -> str:
    """Return `url` so that Spark's reader takes no character of it for a pattern."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", url)


def _below(path: str, url: str) -> Path:
    """Return where a file lies below `url`, both as Hadoop prints them."""
    root = re.sub("/+", "/", _SCHEME.sub("", url)).strip("/") + "/"
    _, found, rest = (_SCHEME.sub("", path).lstrip("/")).partition(root)
    if not found or ".." in rest.split("/"):
        raise PersistenceError(f"{path} does not lie below {url}")
    return Path(rest)
