"""Folders on Spark's own file systems, and files that every executor gets.

A path means what it means to Spark: without a scheme it lies on ``fs.defaultFS``. A Spark Connect client has no
JVM that could open them: there `sparkdl.spark.connect_files` does what the server lets it do.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from sparkdl.errors import PersistenceError
from sparkdl.spark import connect_files
from sparkdl.spark.session import is_connect


def exists(spark: SparkSession, url: str) -> bool:
    """Whether there is a file or a folder."""
    with _explained(url):
        if is_connect(spark):
            return connect_files.exists(spark, url)
        system, path = _system(spark, url)
        return bool(system.exists(path))


def upload(spark: SparkSession, folder: Path, url: str, last: str = "") -> None:
    """Replace what is at `url` by a copy of a local folder.

    Parameters
    ----------
    spark : SparkSession
        Its Hadoop settings hold.
    folder : Path
        On the driver.
    url : str
        Where to; removed first if it exists.
    last : str
        Name of the entry of the folder that is copied after all others.

    Raises
    ------
    PersistenceError
        If it cannot be written.
    """
    sources = sorted(folder.rglob("*"), key=lambda p: (p.relative_to(folder).parts[0] == last, p))
    with _explained(url):
        if is_connect(spark):
            parts = [(path, path.relative_to(folder).parts) for path in sources if path.is_file()]
            connect_files.upload(spark, parts, url)
            return
        system, target = _system(spark, url)
        system.delete(target, True)
        for source in sources:
            destination = _java_path(spark, str(target), *source.relative_to(folder).parts)
            if source.is_dir():
                system.mkdirs(destination)
            else:
                system.copyFromLocalFile(False, True, _local_path(spark, source), destination)


@contextmanager
def downloaded(spark: SparkSession, url: str) -> Iterator[Path]:
    """Give a local folder with what is at `url`: the folder itself where the driver sees it, else a copy for the block.

    Raises
    ------
    PersistenceError
        If there is nothing, or it cannot be read.
    """
    if is_connect(spark):
        with tempfile.TemporaryDirectory(prefix="sparkdl-load-") as folder:
            copy = Path(folder) / "stage"
            with _explained(url):
                connect_files.download(spark, url, copy)
            yield copy
        return
    with _explained(url):
        system, path = _system(spark, url)
        if not system.exists(path):
            raise PersistenceError(f"{path}: there is nothing to load")
        uri = system.makeQualified(path).toUri()
        own = Path(uri.getPath()) if uri.getScheme() == "file" else None
    if own is not None and own.is_dir():
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="sparkdl-load-") as folder:
        copy = Path(folder) / "stage"
        with _explained(url):
            connect_files.check_space(system.getContentSummary(path).getLength(), Path(folder), url)
            system.copyToLocalFile(False, path, _local_path(spark, copy), True)
        yield copy


def _system(spark: SparkSession, url: str) -> tuple[Any, Any]:
    path = _java_path(spark, url)
    return path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), path


def _java_path(spark: SparkSession, first: str, *others: str) -> Any:
    path = spark._jvm.org.apache.hadoop.fs.Path(first)  # type: ignore[union-attr]
    for other in others:
        path = spark._jvm.org.apache.hadoop.fs.Path(path, other)  # type: ignore[union-attr]
    return path


def _local_path(spark: SparkSession, path: Path) -> Any:
    # With its parts given one by one, no character of a local name is taken for a part of a URL.
    return spark._jvm.org.apache.hadoop.fs.Path("file", "", str(path.absolute()))  # type: ignore[union-attr]


@contextmanager
def _explained(url: str) -> Iterator[None]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as error:
        cause = getattr(error, "java_exception", None)
        text = cause.toString() if cause is not None else str(error)
        raise PersistenceError(f"{url} cannot be read or written: {text.splitlines()[0]}") from error


def was_sent(spark: Any, name: str) -> bool:
    """Whether this session's executors have a file of that name from `send_file`."""
    return name in _SENT.get(_receivers(spark), ())


def shipping_folder(spark: Any) -> str | None:
    """Return a folder in which files to be sent are best made: Spark's own, which it removes when it stops."""
    from pyspark import SparkFiles

    return None if is_connect(spark) else SparkFiles.getRootDirectory()


def send_file(spark: Any, path: Path) -> None:
    """Send a file to every executor, those that start later too.

    Parameters
    ----------
    spark : SparkSession
    path : Path
        Its name must tell its content. It is moved to where Spark keeps such files.
    """
    if is_connect(spark):
        spark.addArtifacts(str(path), file=True)
        path.unlink()
    else:
        # Executors fetch it from the driver whenever they start, so it has to stay as long as the application does.
        kept = Path(str(shipping_folder(spark))) / path.name
        path.replace(kept)
        spark.sparkContext.addFile(str(kept))
    _SENT.setdefault(_receivers(spark), set()).add(path.name)


def send_bytes(spark: Any, data: bytes) -> str:
    """Send bytes to every executor as a file, once; return its name."""
    name = f"sparkdl-{hashlib.sha256(data).hexdigest()[:32]}.bin"
    if not was_sent(spark, name):
        with tempfile.TemporaryDirectory(prefix="sparkdl-ship-", dir=shipping_folder(spark)) as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            send_file(spark, path)
    return name


def received_file(name: str) -> Path:
    """Return where a file that was sent lies on this executor."""
    from pyspark import SparkFiles

    return Path(SparkFiles.get(name))


def _receivers(spark: Any) -> str:
    """What identifies those who get a session's files: an application, or a session of Connect."""
    return str(spark.session_id if is_connect(spark) else spark.sparkContext.applicationId)


_SENT: dict[str, set[str]] = {}
