"""The blocks of a direct feed: row groups as plain bytes, numbered over all files of all splits of a fit."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparkdl.data.format.manifest import Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.errors import DataError

Numbers = npt.NDArray[np.int64]


class BlockFile(NamedTuple):
    """The blocks of one split of one Spark partition: what is a file where rows are written.

    Attributes
    ----------
    split : int
        Place of its manifest among those of the fit.
    partition : int
        Spark partition that packed it.
    rows : tuple of int
        Of each block.
    checksums : tuple of str
        Of each block's rows.
    """

    split: int
    partition: int
    rows: tuple[int, ...]
    checksums: tuple[str, ...]


@dataclass(frozen=True)
class Blocks:
    """What the tasks of the ranks are to get.

    Attributes
    ----------
    row_bytes : int
        Of a packed row.
    piece_bytes : int
        A block is sent in pieces of this size; the last one may be shorter.
    files : tuple of BlockFile
        In the order of the manifests and their files.
    """

    row_bytes: int
    piece_bytes: int
    files: tuple[BlockFile, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"row_bytes": self.row_bytes, "piece_bytes": self.piece_bytes, "files": [list(f) for f in self.files]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Blocks:
        """Return what `to_json` has written."""
        files = tuple(BlockFile(s, p, tuple(rows), tuple(sums)) for s, p, rows, sums in value["files"])
        return cls(value["row_bytes"], value["piece_bytes"], files)


def row_bytes_of(manifests: Sequence[Manifest]) -> int:
    """Return the bytes of a packed row; 0 where there are no rows."""
    return next((RowLayout.of(m.schema).row_bytes for m in manifests if m.rows), 0)


def first_blocks(files: Iterable[Sequence[int]]) -> list[int]:
    """Return the number of the first block of each file, given the rows of the blocks of each, and one more for all."""
    return list(accumulate((len(rows) for rows in files), initial=0))


def to_index(numbers: Sequence[int]) -> str:
    """Return the numbers of the blocks of a spool file, in the order in which they lie there, as text."""
    return base64.b64encode(zlib.compress(np.asarray(numbers, dtype="<i4").tobytes())).decode()


def from_index(index: str) -> Numbers:
    """Return the numbers that `to_index` has written."""
    return np.frombuffer(zlib.decompress(base64.b64decode(index)), dtype="<i4").astype(np.int64)


def other_rows(what: str) -> DataError:
    """Return the error for blocks that are not those that were counted."""
    return DataError(
        f"{what}: the DataFrame gave other rows the second time. Spark had lost what it kept of the first, and the "
        "DataFrame is not the same each time it is computed: write it or checkpoint it, or use feed='parquet'"
    )
