"""Where packed rows live while a fit runs: one private folder, gone when the fit ends."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sparkdl.errors import ClusterError
from sparkdl.spark.facts import CACHE_CONF, SessionFacts
from sparkdl.spark.one_task import in_one_task
from sparkdl.storage import access, urls

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DEFAULT_FS = "fs.defaultFS"


@dataclass
class StagingFolder:
    """A private folder for the rows of one fit; a context manager that removes it.

    Attributes
    ----------
    url : str
        Of the folder.
    storage_options : mapping
        For fsspec; never shown.
    one_host : bool
        Whether driver and tasks share a host, so that what the driver removes of a local folder is gone everywhere.
    named : str
        The setting that chose it, for sentences.
    """

    url: str
    spark: SparkSession = field(repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    one_host: bool = field(default=True, repr=False)
    named: str = field(default="the temporary folder for the rows", repr=False)

    def remove(self) -> None:
        """Delete the folder and what is in it; safe to call twice."""
        local = urls.is_local(self.url)
        if local:
            urls.remove(self.url)
        if not (local and self.one_host):
            self._remove_by_task()

    def __enter__(self) -> StagingFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.remove()
        # What the fit has found out matters more than a folder that stays behind.
        except Exception as failure:
            warnings.warn(f"the rows in {access.shown(self.url)} could not be removed: {failure}", stacklevel=2)

    def _remove_by_task(self) -> None:
        url, options, named = self.url, dict(self.storage_options), self.named

        def remove() -> None:
            with access.explained(named, url, options, verb="emptied"):
                urls.remove(url, options)

        in_one_task(self.spark, remove)


def check_folder(facts: SessionFacts, cache_url: str | None, storage_options: Mapping[str, Any] | None = None) -> None:
    """Refuse a folder for the rows that cannot be used, as far as this can be told without a job.

    What another host has to open, a task opens before any row is touched; where driver and tasks share the host, it is
    tried here.

    Raises
    ------
    SettingError
        It is no URL that anybody knows.
    ClusterError
        It cannot be opened, or there is none.
    """
    name, base = _configured(facts, cache_url)
    if not base:
        _shared(facts)
        return
    access.check_folder(name, base, here=_one_host(facts))


def choose_folder(
    spark: SparkSession,
    facts: SessionFacts,
    cache_url: str | None,
    storage_options: Mapping[str, Any] | None = None,
) -> StagingFolder:
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
    one_host = _one_host(facts)
    setting, base = _configured(facts, cache_url)
    name = f"sparkdl-{uuid.uuid4().hex}"
    if base:
        named = _named(setting, base)
        if urls.is_local(base):
            base = urls.local_path(base)
        return StagingFolder(urls.join(base, name), spark, options, one_host, named)
    shared = _shared(facts)
    if shared is not None:
        return StagingFolder(
            urls.join(shared, "tmp", name), spark, options, one_host=False, named=_named(_DEFAULT_FS, shared)
        )
    if one_host:
        return StagingFolder(tempfile.mkdtemp(prefix="sparkdl-"), spark, options)
    return StagingFolder(
        in_one_task(spark, lambda: tempfile.mkdtemp(prefix="sparkdl-")), spark, options, one_host=False
    )


def _is_local(facts: SessionFacts) -> bool:
    """Whether all tasks run on one host; those of local-cluster do too."""
    return (facts.master or "").startswith("local")


def _one_host(facts: SessionFacts) -> bool:
    """Whether that host is the driver's."""
    return _is_local(facts) and not facts.connect


def _configured(facts: SessionFacts, cache_url: str | None) -> tuple[str, str | None]:
    """Return the folder that is set for the rows, after the name of the setting."""
    return ("cacheUrl", cache_url) if cache_url else (CACHE_CONF, facts.cache_url)


def _named(name: str, url: str) -> str:
    return f"{name}={access.shown(url)!r}"


def _shared(facts: SessionFacts) -> str | None:
    """Return the default file system, where hosts share it; None: driver or tasks have a host of their own."""
    if _is_local(facts):
        return None
    shared = facts.default_fs
    if shared is None or urls.is_local(shared):
        raise ClusterError(
            "there is no place that all hosts share for the rows of this fit: set cacheUrl, or the Spark conf "
            f"{CACHE_CONF}, to a folder that driver and executors reach (hdfs://..., s3://..., or a shared mount); an "
            "estimator can do without one by feed='direct'"
        )
    return shared
