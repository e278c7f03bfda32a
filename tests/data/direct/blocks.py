"""Rows of three Spark partitions with train and validation rows, as both feeds pack them; without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sparkdl.data.direct.block_task import SPLITS, BlockTask
from sparkdl.data.direct.blocks import BlockFile, Blocks
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.write.pack_task import WriteTask
from sparkdl.data.write.writer import manifests
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, WEIGHT, DataSchema, Field

WIDTH = 500
SCHEMA = DataSchema(
    (
        Field("x", INPUT, ARRAY, ("x",), "float32", (WIDTH,)),
        Field("id", LABEL, SCALAR, ("id",), "int64", (1,)),
        Field("w", WEIGHT, SCALAR, ("w",), "float32", (1,)),
    )
)
PIECE = 6704
ROWS = (5000, 0, 700)
SETTINGS: dict[str, Any] = {"validation_fraction": 0.25, "seed": 5}


def batches(partition: int, other: float = 0.0) -> Iterator[pa.RecordBatch]:
    """The rows of a partition, in batches of a thousand."""
    first = sum(ROWS[:partition])
    for start in range(0, ROWS[partition], 1000):
        ids = np.arange(first + start, first + min(start + 1000, ROWS[partition]))
        x = np.random.default_rng(int(ids[0])).random((len(ids), WIDTH)).astype(np.float32) + np.float32(other)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH).cast(pa.list_(pa.float32()))
        columns = [lists, pa.array(ids), pa.array((1.0 + ids % 3).astype(np.float32))]
        yield pa.RecordBatch.from_arrays(columns, names=["c0", "c1", "c2"])


def written(folder: Path) -> tuple[Manifest, Manifest]:
    """As feed="parquet" has them."""
    task = WriteTask(SCHEMA, url=str(folder), **SETTINGS)
    return manifests(str(folder), SCHEMA, [e for p in range(len(ROWS)) for e in task.write(batches(p), p, 0)])


def packed(other: float = 0.0) -> tuple[list[pa.RecordBatch], tuple[Manifest, Manifest], Blocks]:
    """As feed="direct" has them: one Arrow batch for each block, the manifests, and what the tasks expect."""
    task = BlockTask(SCHEMA, **SETTINGS, piece_bytes=PIECE)
    every = [batch for partition in range(len(ROWS)) for batch in task.pack(batches(partition, other), partition)]
    said = [json.loads(text) for batch in every for text in batch.column("entry").to_pylist() if text is not None]
    blocks = [batch for batch in every if batch.column("entry").null_count == batch.num_rows]
    splits = manifests("", SCHEMA, said)
    files = [
        BlockFile(place, entry["partition"], tuple(entry["rows"]), tuple(entry["sums"]))
        for place, split in enumerate(SPLITS)
        for entry in (
            {"partition": e["file"]["partition"], "rows": e["file"]["row_groups"], "sums": e["checksums"]}
            for e in said
            if e["split"] == split
        )
    ]
    return blocks, splits, Blocks(RowLayout.of(SCHEMA).row_bytes, PIECE, tuple(files))
