"""Where stages are saved: Spark's file systems, or a mount of Databricks, for which no JVM has to answer.

On some of its clusters none does: `/Volumes` and `/dbfs` are then read and written as the folders that they are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from sparkdl.errors import PersistenceError
from sparkdl.spark import files
from sparkdl.storage import urls

_DATABRICKS = "DATABRICKS_RUNTIME_VERSION"
"""In the environment of every process on a host of Databricks. Elsewhere a path means what it means to Spark."""


def exists(spark: SparkSession, path: str) -> bool:
    """Whether there is a file or a folder."""
    mounted = _mounted(path)
    return files.exists(spark, path) if mounted is None else mounted.exists()


def upload(spark: SparkSession, folder: Path, path: str, last: str) -> None:
    """Replace what is at `path` by a copy of a local folder; its entry `last` comes after all others.

    Raises
    ------
    PersistenceError
        If it cannot be written.
    """
    mounted = _mounted(path)
    if mounted is None:
        files.upload(spark, folder, path, last=last)
        return
    with _explained(path):
        urls.remove(str(mounted))
        mounted.mkdir(parents=True)
        for entry in sorted(folder.iterdir(), key=lambda each: (each.name == last, each.name)):
            # Volumes keep neither modes nor times.
            if entry.is_dir():
                shutil.copytree(entry, mounted / entry.name, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(entry, mounted / entry.name)


@contextmanager
def downloaded(spark: SparkSession, path: str) -> Iterator[Path]:
    """Give a local folder with what is at `path` for the block.

    Raises
    ------
    PersistenceError
        If there is nothing, or it cannot be read.
    """
    mounted = _mounted(path)
    if mounted is None:
        with files.downloaded(spark, path) as folder:
            yield folder
        return
    if not mounted.is_dir():
        raise PersistenceError(f"{path}: there is nothing to load")
    yield mounted


def _mounted(path: str) -> Path | None:
    mount = urls.mount(path) if _DATABRICKS in os.environ else None
    return Path(urls.local_path(path)) if mount is not None and os.path.isdir(mount) else None


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PersistenceError(f"{path} cannot be written: {error.strerror or error}") from error
