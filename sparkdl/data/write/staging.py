"""Where packed rows live while a fit runs: one private folder, gone when the fit ends."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sparkdl.errors import ClusterError
from sparkdl.spark.session import conf, default_fs, is_connect
from sparkdl.storage import urls

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CACHE_CONF = "spark.sparkdl.cacheUrl"


@dataclass
class Place:
    """A private folder for the rows of one fit; a context manager that removes it.

    Attributes
    ----------
    url : str
        Of the folder.
    storage_options : mapping
        For fsspec; never shown.
    one_host : bool
        Whether driver and tasks share a host, so that what the driver removes of a local folder is gone everywhere.
    """

    url: str
    spark: SparkSession = field(repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    one_host: bool = field(default=True, repr=False)

    def remove(self) -> None:
        """Delete the folder and what is in it; safe to call twice."""
        local = urls.is_local(self.url)
        if local:
            urls.remove(self.url)
        if not (local and self.one_host):
            self._remove_by_task()

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.remove()
        # What the fit has found out matters more than a folder that stays behind.
        except Exception as failure:
            warnings.warn(f"the rows in {self.url} could not be removed: {failure}", stacklevel=2)

    def _remove_by_task(self) -> None:
        """By a task, because only tasks are sure to have the file system's package and credentials."""
        url, options = self.url, dict(self.storage_options)

        def remove_there(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                if batch.num_rows:
                    urls.remove(url, options)
                yield batch

        self.spark.range(1).mapInArrow(remove_there, "id long").collect()


def choose_place(spark: SparkSession, cache_url: str | None, storage_options: Mapping[str, Any] | None = None) -> Place:
    """Return the private folder for the rows of one fit.

    It lies below `cache_url`; else below the conf ``spark.sparkdl.cacheUrl``; else, on a local master, in the temporary
    folder of its host (mode 0700); else below ``fs.defaultFS`` if that is shared. No code guesses that a local
    path is shared: over Spark Connect the server's host makes and removes it.

    Raises
    ------
    ClusterError
        None of these is there.
    """
    options = dict(storage_options or {})
    local_master = (conf(spark, "spark.master") or "").startswith("local")
    same_host = local_master and not is_connect(spark)
    base = cache_url or conf(spark, CACHE_CONF)
    name = f"sparkdl-{uuid.uuid4().hex}"
    if base:
        if urls.is_local(base):
            base = urls.local_path(base)
        return Place(urls.join(base, name), spark, options, same_host)
    if same_host:
        return Place(tempfile.mkdtemp(prefix="sparkdl-"), spark, options)
    if local_master:
        return Place(_made_by_task(spark), spark, options, one_host=False)
    shared = default_fs(spark) or conf(spark, "spark.hadoop.fs.defaultFS")
    if shared is None or urls.is_local(shared):
        raise ClusterError(
            "there is no place that all hosts share for the rows of this fit: set cacheUrl, or the Spark conf "
            f"{CACHE_CONF}, to a folder that driver and executors reach (hdfs://..., s3://..., or a shared mount); an "
            "estimator can do without one by feed='direct'"
        )
    return Place(urls.join(shared, "tmp", name), spark, options, one_host=False)


def _made_by_task(spark: SparkSession) -> str:
    """Return a new private folder on the host of the tasks, which are all on one."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"folder": [tempfile.mkdtemp(prefix="sparkdl-")] * batch.num_rows})

    (row,) = spark.range(1).coalesce(1).mapInArrow(make, "folder string").collect()
    return str(row["folder"])
