"""The Spark action that packs the rows of a direct feed, and what holds them until ranks take them in."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import functions as F

from sparkdl.data.direct.block_task import BLOCK_COLUMNS, RESULT_SCHEMA, SPLITS, BlockTask
from sparkdl.data.direct.blocks import BlockFile, Blocks
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.write.writer import Dataset, entries_of, manifests, selected
from sparkdl.errors import ClusterError
from sparkdl.schema import DataSchema
from sparkdl.spark.facts import RECORDS_PER_BATCH, SPARK_RECORDS_PER_BATCH
from sparkdl.spark.session import with_conf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PLACE = "the blocks of feed='direct'"
"""Stands in messages where a folder stands for rows that are written."""

_BATCH_BYTES = 64 << 20
_CACHED_CONF = "spark.sql.inMemoryColumnarStorage.batchSize"
_CACHED_BYTES = 256 << 10
_LEAST_PIECE, _MOST_PIECE = 1 << 10, 4 << 20


@dataclass(frozen=True)
class HeldBlocks:
    """Packed rows that Spark keeps on its disks.

    Attributes
    ----------
    frame : DataFrame
        One row for each piece of a block.
    by : tuple of str
        The columns that name the block; all pieces of a block have to go to one task.
    arguments : mapping
        For `sparkdl.data.direct.spooling.ingest_rows`; JSON values.
    """

    frame: DataFrame
    by: tuple[str, ...]
    arguments: Mapping[str, Any]
    _persisted: DataFrame = field(repr=False)

    def close(self) -> None:
        """Let Spark drop the blocks; safe to call twice."""
        try:
            self._persisted.unpersist()
        # What the fit has found out matters more than blocks that Spark drops with the application.
        except Exception as failure:
            warnings.warn(f"Spark could not drop the packed rows: {failure}", stacklevel=2)


def pack(
    df: DataFrame,
    schema: DataSchema,
    *,
    records_per_batch: int,
    validation_column: str | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    count_classes: Sequence[str] = (),
    fill_value: float | None = None,
    pad_value: float | None = None,
    case_sensitive: bool = False,
) -> Dataset:
    """Pack the rows of `df` into blocks that Spark keeps on its disks, and count what they hold.

    The blocks are the row groups that `materialize` would have written from the same partitions, so the manifests have
    the same hash. Only counts reach the driver. `Dataset.blocks` is to be closed.

    Parameters
    ----------
    df, schema
        As for `materialize`; so are the others.
    records_per_batch : int
        Rows that the session puts into an Arrow batch.

    Raises
    ------
    ClusterError
        The session puts more rows into an Arrow batch than a block can be cut for.
    """
    started = time.perf_counter()
    chosen, schema = selected(
        df,
        schema,
        validation_column=validation_column,
        validation_fraction=validation_fraction,
        fill_value=fill_value,
        pad_value=pad_value,
        case_sensitive=case_sensitive,
    )
    task = BlockTask(
        schema,
        validation_column=validation_column,
        validation_fraction=validation_fraction,
        seed=seed,
        count_classes=tuple(count_classes),
        fill_value=fill_value,
        pad_value=pad_value,
        piece_bytes=piece_bytes_of(records_per_batch),
    )
    # Java's serializer holds a hundred of the batches that Spark makes of these rows, for each task that runs: 400 MiB
    # of them. How many rows make one is part of the plan, which is made here.
    with with_conf(df.sparkSession, _CACHED_CONF, str(max(1, _CACHED_BYTES // task.piece_bytes))):
        packed = chosen.mapInArrow(task, RESULT_SCHEMA).persist(StorageLevel.DISK_ONLY)
    try:
        entries = entries_of(packed.where(F.col("entry").isNotNull()).select("entry"))
        splits = manifests(PLACE, schema, entries)
        arguments = _blocks_of(splits, entries, task.piece_bytes).to_json()
    except BaseException:
        packed.unpersist()
        raise
    pieces = packed.where(F.col("data").isNotNull()).select(*BLOCK_COLUMNS, "part", "data")
    validated = validation_column is not None or validation_fraction > 0
    seconds = time.perf_counter() - started
    return Dataset(
        splits[0],
        splits[1] if validated else None,
        seconds,
        blocks=HeldBlocks(pieces, BLOCK_COLUMNS, arguments, packed),
    )


def piece_bytes_of(records: int) -> int:
    """Return the size of the pieces of a block with which an Arrow batch of Spark stays below 64 MiB.

    Raises
    ------
    ClusterError
        The session's setting puts too many rows into a batch.
    """
    most = _BATCH_BYTES // _LEAST_PIECE
    if not 0 < records <= most:
        raise ClusterError(
            f"{RECORDS_PER_BATCH}={records} would put too many rows of feed='direct' into one batch: set it to a "
            f"number from 1 to {most:,} ({SPARK_RECORDS_PER_BATCH:,} is Spark's default), or use feed='parquet'"
        )
    return min(_MOST_PIECE, _BATCH_BYTES // records // 8 * 8)


def _blocks_of(splits: tuple[Manifest, Manifest], entries: Sequence[Mapping[str, Any]], piece_bytes: int) -> Blocks:
    packed = {(e["split"], e["file"]["partition"]): e for e in entries if e.get("file") is not None}
    files = [
        BlockFile(index, file.partition, file.row_groups, tuple(packed[split, file.partition]["checksums"]))
        for index, (split, manifest) in enumerate(zip(SPLITS, splits, strict=True))
        for file in manifest.files
    ]
    # Tasks that saw other shapes packed other rows; a fit on them is refused by the counts before any block is read.
    row_bytes = max((e["rowBytes"] for e in packed.values()), default=0)
    return Blocks(row_bytes, piece_bytes, tuple(files))
