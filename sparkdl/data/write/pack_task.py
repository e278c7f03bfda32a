"""One task of the writing: Arrow batches in, packed Parquet files and counts out.

`RowTask` and `SplitPacker` know how rows are divided, counted and packed into row groups; `WriteTask` and `SplitWriter`
put the groups into Parquet files. `sparkdl.data.direct.block_task` puts the same groups into blocks of bytes.
"""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sparkdl.data.convert import arrow
from sparkdl.data.format.manifest import DataFile
from sparkdl.data.format.row_layout import Checksum, RowLayout, Rows
from sparkdl.data.format.statistics import FieldCounter
from sparkdl.data.types import type_of
from sparkdl.data.write.encoder import FieldReader
from sparkdl.schema import WEIGHT, DataSchema
from sparkdl.storage import access, urls

TRAIN = "train"
VALIDATION = "validation"
CONTENT = "content"
SPLIT_COLUMN = "split"
HASH_COLUMN = "hash"
RESULT_SCHEMA = "entry string"


def input_column(index: int) -> str:
    """Return what the column of the field of this index in the schema is called between Spark and the tasks."""
    return f"c{index}"


@dataclass(frozen=True)
class RowTask:
    """How a task divides, counts and packs the rows of one partition.

    Attributes
    ----------
    schema : DataSchema
        Fields in the order of the columns "c0", "c1", ...; a column "hash" behind them is added up.
    validation_column : str or None
        Its name for the counts; the column itself is called "split".
    validation_fraction, seed
        Share of rows that are drawn for validation.
    count_classes : tuple of str
        Scalar labels whose values are counted.
    fill_value, pad_value : float or None
        For nulls in inputs; behind the elements of arrays and vectors that are shorter than the longest.
    """

    schema: DataSchema
    validation_column: str | None = None
    validation_fraction: float = 0.0
    seed: int = 0
    count_classes: tuple[str, ...] = ()
    fill_value: float | None = None
    pad_value: float | None = None

    def deal(
        self,
        batches: Iterator[pa.RecordBatch],
        partition: int,
        splits: Mapping[str, SplitPacker],
        others: list[dict[str, Any]],
    ) -> Iterator[None]:
        """Give the rows to their splits; yields after each batch. At the end `others` has what belongs to no split."""
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed % (1 << 64), partition])))
        null_flags = 0
        hashed, total = 0, 0
        for batch in batches:
            if batch.num_rows == 0:
                continue
            if HASH_COLUMN in batch.schema.names:
                hashes = arrow.to_numpy(batch.column(HASH_COLUMN)).view(np.uint64)
                hashed, total = hashed + len(hashes), total + int(hashes.sum(dtype=np.uint64))
            flags, unknown = self._validation(batch, draw)
            null_flags += int(unknown.sum())
            for split, chosen in ((TRAIN, ~flags & ~unknown), (VALIDATION, flags)):
                if chosen.any():
                    splits[split].add(batch if chosen.all() else batch.filter(arrow.from_numpy(chosen)))
            yield
        if hashed:
            others.append({"split": CONTENT, "rows": hashed, "total": total})
        if null_flags:
            flags_count = asdict(FieldCounter(nulls=null_flags).result())
            others.append({"split": TRAIN, "file": None, "counts": {str(self.validation_column): flags_count}})

    def _validation(self, batch: pa.RecordBatch, draw: np.random.Generator) -> tuple[arrow.Mask, arrow.Mask]:
        """Which rows are only measured, and which of them nobody can tell."""
        rows = batch.num_rows
        none = np.zeros(rows, dtype=bool)
        if self.validation_fraction > 0:
            return draw.random(rows) < self.validation_fraction, none
        if self.validation_column is None:
            return none, none
        flags = batch.column(SPLIT_COLUMN)
        unknown = arrow.null_rows(flags)
        chosen: arrow.Mask = arrow.to_numpy(flags, null=False)
        return chosen, none if unknown is None else unknown


class SplitPacker(ABC):
    """Counts the rows of one split of one partition and packs them into row groups.

    Parameters
    ----------
    task : RowTask
    name : str
        Of the file in the manifest.
    """

    def __init__(self, task: RowTask, name: str) -> None:
        self.seen = 0
        self.bytes = 0
        self._name = name
        self._readers = [
            FieldReader(f, task.count_classes, task.fill_value, task.pad_value) for f in task.schema.fields
        ]
        self._layout: RowLayout | None = None
        self._checksum: Checksum | None = None
        self._pending: list[Rows] = []
        self._pending_rows = 0
        self._groups: list[int] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Count all rows of a batch and pack those that can be packed."""
        self.seen += batch.num_rows
        step = min((type_of(r.field).rows_at_once or batch.num_rows for r in self._readers), default=batch.num_rows)
        for start in range(0, batch.num_rows, step):
            self._add(batch.slice(start, step))

    def finish(self) -> None:
        """Put the last rows into a row group of their own."""
        if self._layout is not None:
            self._flush(self._layout.group_rows, all_rows=True)

    def entry(self, partition: int) -> dict[str, Any] | None:
        """Return the file as the manifest holds it, None if there were no rows for it."""
        if not self._groups or self._checksum is None:
            return None
        return asdict(
            DataFile(
                path=self._name,
                partition=partition,
                sequence=0,
                row_groups=tuple(self._groups),
                bytes=self.bytes,
                host=socket.gethostname(),
                checksum=self._checksum.value,
            )
        )

    def counts(self) -> dict[str, Any]:
        """Return what was counted, by field name."""
        return {reader.field.name: asdict(reader.counter.result()) for reader in self._readers}

    @abstractmethod
    def _begin(self, layout: RowLayout) -> None:
        """Get ready for the first row."""

    @abstractmethod
    def _put(self, layout: RowLayout, parts: Sequence[Rows], count: int) -> None:
        """Take the next row group."""

    def _add(self, batch: pa.RecordBatch) -> None:
        parts = [reader.read(batch.column(index)) for index, reader in enumerate(self._readers)]
        good = np.logical_and.reduce([mask for _, mask in parts])
        if not good.any():
            return
        values = {
            reader.field.name: reader.values(content, good)
            for (content, _), reader in zip(parts, self._readers, strict=True)
        }
        weight = next((reader.field.name for reader in self._readers if reader.field.role == WEIGHT), None)
        if weight is not None:
            for reader in self._readers:
                if reader.counter.classes is not None:
                    reader.counter.add_class_weights(values[reader.field.name], values[weight])
        self._pack(values)

    def _pack(self, values: dict[str, npt.NDArray[Any]]) -> None:
        if self._layout is None:
            self._layout = RowLayout.of(DataSchema(tuple(reader.field for reader in self._readers)))
            self._checksum = Checksum(self._layout.row_bytes)
            self._begin(self._layout)
        rows = self._layout.pack(values)
        self._pending.append(rows)
        self._pending_rows += len(rows)
        self._flush(self._layout.group_rows)

    def _flush(self, group_rows: int, all_rows: bool = False) -> None:
        """Put full row groups; the rest stays for the next call, unless it is the last."""
        while self._pending_rows >= group_rows or (all_rows and self._pending_rows):
            taken, count = [], 0
            while self._pending and count < group_rows:
                head = self._pending[0][: group_rows - count]
                rest = self._pending[0][len(head) :]
                self._pending[:1] = [rest] if len(rest) else []
                taken.append(head)
                count += len(head)
            assert self._layout is not None
            assert self._checksum is not None
            for part in taken:
                self._checksum.add(part)
            self._put(self._layout, taken, count)
            self._groups.append(count)
            self._pending_rows -= count


@dataclass(frozen=True)
class WriteTask(RowTask):
    """Writes the rows of one partition; called with its Arrow batches by ``mapInArrow``.

    Attributes
    ----------
    url : str
        Folder of the files.
    storage_options : mapping
        For fsspec.
    named : str
        The setting that chose the folder, for sentences.
    """

    url: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    named: str = "the folder for the rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the rows; yield one row of JSON for each split that has any."""
        from pyspark import TaskContext

        context = TaskContext.get()
        partition = 0 if context is None else context.partitionId()
        attempt = 0 if context is None else context.taskAttemptId()
        entries = self.write(batches, partition, attempt)
        yield pa.RecordBatch.from_arrays([arrow.from_strings([*map(json.dumps, entries)])], ["entry"])

    def write(self, batches: Iterator[pa.RecordBatch], partition: int, attempt: int) -> list[dict[str, Any]]:
        """Write one partition and return its entries: split, file (or None), counts by field name."""
        names = {
            TRAIN: f"part-{partition:05d}-{attempt}.parquet",
            VALIDATION: f"val-{partition:05d}-{attempt}.parquet",
        }
        others: list[dict[str, Any]] = []
        with ExitStack() as stack:
            splits = {split: stack.enter_context(SplitWriter(self, name)) for split, name in names.items()}
            for _ in self.deal(batches, partition, splits, others):
                pass
        written = [
            {"split": split, "file": writer.entry(partition), "counts": writer.counts()}
            for split, writer in splits.items()
            if writer.seen
        ]
        return [*written, *others]


class SplitWriter(SplitPacker):
    """The file of one split of one partition; it exists under its name only when all rows are in it."""

    def __init__(self, task: WriteTask, name: str) -> None:
        super().__init__(task, name)
        self._task = task
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._stream: pa.PythonFile | None = None

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None and self._layout is not None:
                self.finish()
                self._close()
        except BaseException as failure:
            # Closing writes what is left, which fails as well.
            with self._explained():
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        with self._explained():
            self._stack.__exit__(kind, error, trace)

    def _begin(self, layout: RowLayout) -> None:
        with self._explained():
            urls.make_folder(self._task.url, self._task.storage_options, private=True)
            url = urls.join(self._task.url, self._name)
            # Arrow counts what it writes; streams to HDFS do not know where they are.
            self._stream = pa.PythonFile(
                self._stack.enter_context(urls.write_atomic(url, self._task.storage_options)), mode="w"
            )
            self._writer = layout.writer(self._stream)

    def _put(self, layout: RowLayout, parts: Sequence[Rows], count: int) -> None:
        assert self._writer is not None
        with self._explained():
            self._writer.write_table(layout.to_table(parts), row_group_size=count)

    def _close(self) -> None:
        assert self._writer is not None
        assert self._stream is not None
        with self._explained():
            self._writer.close()
        self.bytes = self._stream.tell()

    def _explained(self) -> AbstractContextManager[None]:
        return access.explained(self._task.named, self._task.url, self._task.storage_options, verb="written")
