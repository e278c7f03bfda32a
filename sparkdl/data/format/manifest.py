"""The result of the one action that wrote the rows: which files hold them, and what was counted on the way.

Only files of task attempts that succeeded are in it, because each task returns its own entries; nobody lists a
folder. The order is (partition, sequence), never names or times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from sparkdl.data.format.manifest_check import check_manifest
from sparkdl.errors import DataError
from sparkdl.schema import DataSchema

FORMAT_VERSION = 1

PACKED, COLUMNS, UNISCHEMA = "packed", "columns", "unischema"
"""What the files hold: rows that we have packed; columns of ordinary Parquet; columns that Petastorm has encoded."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of packed rows.

    Attributes
    ----------
    path : str
        Relative to the manifest's url.
    partition, sequence : int
        Spark partition that wrote it, and its place among that partition's files.
    row_groups : tuple of int
        Rows of each row group.
    bytes : int
        Size of the file.
    host : str
        Where it was written.
    checksum : str
        Of the rows, order-free, hexadecimal.
    constants : tuple of (str, int or float)
        Columns that are not in the file because all its rows have the same value: those of partition folders.
    """

    path: str
    partition: int
    sequence: int
    row_groups: tuple[int, ...]
    bytes: int
    host: str = ""
    checksum: str = ""
    constants: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "constants", tuple((str(name), value) for name, value in self.constants))

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return sum(self.row_groups)


@dataclass(frozen=True)
class FieldCount:
    """What the writing has counted of one field.

    Attributes
    ----------
    nulls, nans : int
        Rows with a null (also inside an array), rows with a NaN or an infinity.
    shapes : mapping of str to int
        How many rows have each shape; key "3,4" for (3, 4). At most 16 shapes, the rest under "other".
    minimum, maximum : float or None
        Over all finite values.
    classes : mapping of str to int or None
        For scalar labels: rows of each value (key: repr of the float), None when there are more than 10,000 values.
    non_integers : int
        For labels: values that are not whole numbers.
    fraction : float or None
        One of them.
    class_weights : mapping of str to float or None
        Where rows have weights: the sum of those of the rows of each value in `classes`.
    undecodable : int
        Of the nulls: rows of an image column whose bytes are no image.
    """

    nulls: int = 0
    nans: int = 0
    shapes: Mapping[str, int] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    classes: Mapping[str, int] | None = None
    non_integers: int = 0
    undecodable: int = 0
    fraction: float | None = None
    class_weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Manifest:
    """All files of one split ("train" or "validation") of the rows.

    Attributes
    ----------
    url : str
        Folder of the files.
    schema : DataSchema
        With every shape resolved.
    files : tuple of DataFile
        In (partition, sequence) order.
    counts : mapping of str to FieldCount
        By field name.
    lease : str
        Name of a lease in the folder, which rank 0 renews at each epoch; empty where the files are the fit's own. Not
        saved.
    format : str
        PACKED, COLUMNS or UNISCHEMA.
    """

    url: str
    schema: DataSchema
    files: tuple[DataFile, ...]
    counts: Mapping[str, FieldCount] = field(default_factory=dict)
    lease: str = ""
    format: str = PACKED

    @cached_property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @cached_property
    def hash(self) -> str:
        """Identity of the data: schema, layout of the files and checksums; not where they lie."""
        identity: dict[str, Any] = {
            "formatVersion": FORMAT_VERSION,
            "schema": self.schema.to_json(),
            "files": [[f.partition, f.sequence, list(f.row_groups), f.checksum] for f in self.files],
        }
        if self.format != PACKED:
            identity["format"] = self.format
            identity["constants"] = [list(f.constants) for f in self.files]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "formatVersion": FORMAT_VERSION,
            "url": self.url,
            "schema": self.schema.to_json(),
            "files": [asdict(f) for f in self.files],
            "counts": {name: asdict(count) for name, count in self.counts.items()},
            "format": self.format,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Manifest:
        """Return the manifest that `to_json` has written.

        Raises
        ------
        DataError
            It has another format version, or a value that cannot be where it is.
        """
        version = value.get("formatVersion") if isinstance(value, Mapping) else None
        if version != FORMAT_VERSION:
            raise DataError(f"manifest of format version {version!r:.20}, expected {FORMAT_VERSION}")
        check_manifest(value, (PACKED, COLUMNS, UNISCHEMA))
        return cls(
            url=value["url"],
            schema=DataSchema.from_json(value["schema"]),
            files=tuple(DataFile(**{**f, "row_groups": tuple(f["row_groups"])}) for f in value["files"]),
            counts={name: FieldCount(**count) for name, count in value["counts"].items()},
            format=value.get("format", PACKED),
        )
