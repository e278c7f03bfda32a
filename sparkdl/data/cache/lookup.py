"""Rows of a fit that are kept below `cacheUrl`, and found again by a fit that wants the same."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sparkdl.data.cache import store as cache
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.write.fingerprint import content_of
from sparkdl.data.write.staging import StagingFolder
from sparkdl.data.write.writer import Dataset, materialize
from sparkdl.errors import DataError
from sparkdl.schema import DataSchema
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.one_task import in_one_task
from sparkdl.storage import access, leases, urls

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_log = logging.getLogger(__name__)


@dataclass
class Kept:
    """Rows below `cacheUrl` that a fit has a lease on.

    Attributes
    ----------
    dataset : Dataset
    reused : bool
        Whether they were there already.
    """

    dataset: Dataset
    reused: bool
    _leave: Callable[[bool], object] = field(repr=False)

    def close(self, remove: bool = False) -> None:
        """Give the lease back; the rows stay for later fits, or are removed if nobody else uses them."""
        self._leave(remove)


def keeping_base(facts: SessionFacts, cache_url: str | None) -> str | None:
    """Return the folder below which rows are kept: `cache_url`, else the conf; None where neither is set."""
    base = cache_url or facts.cache_url
    return urls.local_path(base) if base and urls.is_local(base) else base


def keep(
    df: DataFrame,
    schema: DataSchema,
    place: StagingFolder,
    *,
    validation_column: str | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    count_classes: Sequence[str] = (),
    fill_value: float | None = None,
    pad_value: float | None = None,
    case_sensitive: bool = False,
) -> Kept:
    """Return the rows of `df` as `materialize` writes them: those that are there already, or new ones.

    Rows are looked for only where the same was asked for before; it takes one pass over them, in the JVM, for their
    number and checksum. Where nothing is there they are written at once, and the checksum is made on the way.

    Parameters
    ----------
    df, schema
        As for `materialize`; so are the others.
    folder : StagingFolder
        Its folder is the one below which rows are kept.
    """
    started = time.perf_counter()
    store = _Store(place, f"fit-{uuid.uuid4().hex}")
    key = cache.key_of(
        {
            "schema": schema.to_json(),
            "validationColumn": validation_column,
            "validationFraction": validation_fraction,
            "seed": seed,
            "countClasses": sorted(count_classes),
            # Entries of before have counted classes without their weights.
            **({"classWeights": True} if count_classes and schema.weight is not None else {}),
            "fillValue": fill_value,
            "padValue": pad_value,
        }
    )
    there = store.call(_look, key)
    if there:
        checksum = content_of(df, schema, validation_column, fill_value)
        for name in there:
            content = store.call(cache.take, name, checksum, store.holder)
            if content is None:
                continue
            try:
                dataset = _dataset_of(content, store.url(name), store.lease, time.perf_counter() - started)
            except DataError as error:
                _log.warning("packed rows %s are not used: %s", name, error)
                store.leave(name, remove=False)
                continue
            _log.info("cache hit: packed rows %s are used again", name)
            return Kept(dataset, True, partial(store.leave, name))
    name = cache.new_entry(key)
    _log.info("cache miss: rows are packed into %s (%d entries of the same key hold others)", name, len(there))
    store.call(cache.begin, name, store.holder)
    try:
        dataset = materialize(
            df,
            schema,
            replace(place, url=store.url(name)),
            validation_column=validation_column,
            validation_fraction=validation_fraction,
            seed=seed,
            count_classes=count_classes,
            fill_value=fill_value,
            pad_value=pad_value,
            case_sensitive=case_sensitive,
            checksum=True,
        )
        store.call(cache.publish, name, _content_of(dataset))
    except BaseException:
        store.call(cache.drop, name)
        raise
    return Kept(_leased(dataset, store.lease), False, partial(store.leave, name))


class _Store:
    """Calls the functions of `cache` where the folder can be opened: here, or in a task."""

    def __init__(self, place: StagingFolder, holder: str) -> None:
        self._place = place
        self._here = urls.is_local(place.url) and place.one_host
        self.holder = holder
        self.lease = leases.name_of(holder)

    def url(self, name: str) -> str:
        return urls.join(self._place.url, name)

    def leave(self, name: str, remove: bool) -> None:
        self.call(cache.discard if remove else cache.leave, name, self.holder)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        base, options, named = self._place.url, dict(self._place.storage_options), self._place.named

        def explained() -> Any:
            with access.explained(named, base, options):
                return function(base, *arguments, options)

        return explained() if self._here else in_one_task(self._place.spark, explained)


def _look(base: str, key: str, options: Mapping[str, Any]) -> list[str]:
    """The first who asks for the folder: whether it can be used is found out before any row is."""
    access.probe(base, options)
    return cache.look(base, key, options)


def _content_of(dataset: Dataset) -> dict[str, Any]:
    """What the manifest of an entry says."""
    splits = [dataset.train] if dataset.validation is None else [dataset.train, dataset.validation]
    return {
        "checksum": dataset.checksum,
        "files": {file.path: file.bytes for split in splits for file in split.files},
        "train": dataset.train.to_json(),
        "validation": None if dataset.validation is None else dataset.validation.to_json(),
    }


def _dataset_of(content: Mapping[str, Any], url: str, lease: str, seconds: float) -> Dataset:
    train = Manifest.from_json(content.get("train") or {})
    held = None if content.get("validation") is None else Manifest.from_json(content["validation"])
    found = Dataset(
        # The folder may have another name now: a mount, another way to write the same URL.
        replace(train, url=url),
        None if held is None else replace(held, url=url),
        seconds,
        content["checksum"],
    )
    return _leased(found, lease)


def _leased(dataset: Dataset, lease: str) -> Dataset:
    return replace(dataset, train=replace(dataset.train, lease=lease))
