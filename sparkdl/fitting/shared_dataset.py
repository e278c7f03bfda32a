"""The rows of a fit, written once for all models that want the same; removed, or given back, after the last of them."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sparkdl.schema import DataSchema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sparkdl.data.write import Dataset
    from sparkdl.spark.facts import SessionFacts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowsWanted:
    """What decides how rows are written: two fits that agree in it train on the same files.

    Attributes
    ----------
    schema : DataSchema
        Inputs, labels and weight.
    count_classes : tuple of str
        Labels whose values are counted.
    validation_column : str or None
    validation_fraction : float
    seed : int
        Draws the validation rows; 0 where none are drawn.
    fill_value, pad_value : float or None
    cache_url : str or None
    storage_options : mapping
        Never shown.
    feed : str
        "parquet" or "direct".
    until_done : bool
        Whether rows below `cache_url` go once all fits that want them have succeeded.
    """

    schema: DataSchema
    count_classes: tuple[str, ...] = ()
    validation_column: str | None = None
    validation_fraction: float = 0.0
    seed: int = 0
    fill_value: float | None = None
    pad_value: float | None = None
    cache_url: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    feed: str = "parquet"
    until_done: bool = False


class SharedRows:
    """Writes the rows of one DataFrame for several fits, from several threads.

    Rows are removed when the last fit that was announced for them is done; when a fit fails, as soon as no other one
    reads them (a fit that still comes writes them again); and all of them by `close`. Those below a cacheUrl are kept:
    there, "removed" means that this program needs them no longer.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    announced : sequence of RowsWanted
        One for each fit that will come.
    facts : SessionFacts
        Of the session of `frame`.
    """

    def __init__(self, frame: DataFrame, announced: Sequence[RowsWanted], facts: SessionFacts) -> None:
        self._frame = frame
        self._facts = facts
        self._announced = list(announced)
        self._written: list[_Written] = []
        self._lock = threading.Lock()

    @contextmanager
    def use(self, wanted: RowsWanted) -> Iterator[Dataset]:
        """Give the written rows to one fit."""
        written = self._enter(wanted)
        failed = True
        try:
            yield written.dataset_of(self._frame, self._facts)
            failed = False
        finally:
            self._leave(written, failed)

    def close(self) -> None:
        """Remove all rows; safe to call twice. Only for when no fit reads them any more."""
        with self._lock:
            written, self._written = self._written, []
        for each in written:
            each.remove()

    def _enter(self, wanted: RowsWanted) -> _Written:
        with self._lock:
            found = next((w for w in self._written if w.wanted == wanted), None)
            if found is None:
                found = _Written(wanted)
                self._written.append(found)
            found.readers += 1
            if wanted in self._announced:
                self._announced.remove(wanted)
            return found

    def _leave(self, written: _Written, failed: bool) -> None:
        with self._lock:
            written.readers -= 1
            written.abandoned |= failed
            over = not written.readers and (written.abandoned or written.wanted not in self._announced)
            if over and written in self._written:
                self._written.remove(written)
        if over:
            written.remove()


class _Written:
    """One writing of the rows: done by the fit that comes first, the others wait for it."""

    def __init__(self, wanted: RowsWanted) -> None:
        self.wanted = wanted
        self.readers = 0
        self.abandoned = False
        self._lock = threading.Lock()
        self._folder = ExitStack()
        self._dataset: Dataset | None = None

    def dataset_of(self, frame: DataFrame, facts: SessionFacts) -> Dataset:
        with self._lock:
            if self._dataset is None:
                self._dataset = self._write(frame, facts)
            return self._dataset

    def remove(self) -> None:
        try:
            self._folder.close()
        # What the fit has found out matters more than rows that stay behind.
        except Exception as failure:
            warnings.warn(f"the rows of this fit could not be removed: {failure}", stacklevel=2)

    def _write(self, frame: DataFrame, facts: SessionFacts) -> Dataset:
        from sparkdl.data.cache.lookup import keep, keeping_base
        from sparkdl.data.write import choose_folder, materialize

        wanted = self.wanted
        _log.info("the rows of this fit come by feed=%r", wanted.feed)
        how: dict[str, Any] = {
            "validation_column": wanted.validation_column,
            "validation_fraction": wanted.validation_fraction,
            "seed": wanted.seed,
            "count_classes": wanted.count_classes,
            "fill_value": wanted.fill_value,
            "pad_value": wanted.pad_value,
            "case_sensitive": facts.case_sensitive,
        }
        if wanted.feed == "direct":
            from sparkdl.data.direct.writer import pack

            packed = pack(frame, wanted.schema, records_per_batch=facts.records_per_batch, **how)
            if packed.blocks is not None:
                self._folder.callback(packed.blocks.close)
            return packed
        folder = choose_folder(frame.sparkSession, facts, wanted.cache_url, wanted.storage_options)
        base = keeping_base(facts, wanted.cache_url)
        if base is not None:
            kept = keep(frame, wanted.schema, replace(folder, url=base), **how)
            self._folder.callback(lambda: kept.close(remove=wanted.until_done and not self.abandoned))
            return kept.dataset
        with ExitStack() as on_failure:
            on_failure.enter_context(folder)
            dataset = materialize(frame, wanted.schema, folder, **how)
            self._folder = on_failure.pop_all()
        return dataset
