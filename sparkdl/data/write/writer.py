"""The one Spark action that writes the rows, and what comes back of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparkdl.data.format.manifest import DataFile, FieldCount, Manifest
from sparkdl.data.format.statistics import OTHER, total
from sparkdl.data.types import type_of
from sparkdl.data.write.fields import check_validation_column
from sparkdl.data.write.fingerprint import identity, row_hash
from sparkdl.data.write.pack_task import (
    CONTENT,
    HASH_COLUMN,
    RESULT_SCHEMA,
    SPLIT_COLUMN,
    TRAIN,
    VALIDATION,
    WriteTask,
    input_column,
)
from sparkdl.data.write.size_pass import can_pad, measured
from sparkdl.data.write.staging import StagingFolder
from sparkdl.errors import SettingError
from sparkdl.schema import DataSchema
from sparkdl.spark.columns import column
from sparkdl.spark.executors import computing_rows
from sparkdl.spark.session import ends_with_interrupt

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sparkdl.data.direct.writer import HeldBlocks


@dataclass(frozen=True)
class Dataset:
    """Rows that are written and counted.

    Attributes
    ----------
    train : Manifest
        With no files if there are no rows.
    validation : Manifest or None
        None if no validation was asked for.
    seconds : float
        Time of the writing, or of finding what was written before.
    checksum : str
        Number and order-free checksum of the rows, if asked for.
    blocks : HeldBlocks or None
        Of a direct feed: where the rows are, instead of in files.
    """

    train: Manifest
    validation: Manifest | None
    seconds: float
    checksum: str = ""
    blocks: HeldBlocks | None = None


def materialize(
    df: DataFrame,
    schema: DataSchema,
    folder: StagingFolder,
    *,
    validation_column: str | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    count_classes: Sequence[str] = (),
    fill_value: float | None = None,
    pad_value: float | None = None,
    case_sensitive: bool = False,
    checksum: bool = False,
) -> Dataset:
    """Write the rows of `df` as packed Parquet files into `folder` and count what they hold.

    Rows that cannot be packed (a null, another shape than the rows before) are counted and not written: who calls
    this refuses them by the counts. `nulls` and `shapes` are counted over all rows, the rest over those written.
    `pad_value` costs one more pass over the data, for the greatest length; so do vectors of 256 numbers and more, for
    the room that their entries need.

    Parameters
    ----------
    df : DataFrame
    schema : DataSchema
        From `schema_of`.
    folder : StagingFolder
        Where the files go.
    validation_column : str, optional
        Boolean column: true for rows that are only measured. Its nulls are counted under its name.
    validation_fraction : float
        Share of rows that are only measured, drawn by (seed, partition, position).
    seed : int
    count_classes : sequence of str
        Scalar labels whose values are counted.
    fill_value, pad_value : float, optional
        For nulls in inputs; behind the elements of 1-D arrays and vectors that are shorter than the longest.
    case_sensitive : bool
        As ``spark.sql.caseSensitive``.
    checksum : bool
        Add up a hash of all rows on the way, those that cannot be packed too.

    Raises
    ------
    DataError
        The validation column is missing or not boolean.
    SettingError
        A value in place of what is missing is not of the column's type.
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
        checksum=checksum,
    )
    task = WriteTask(
        url=folder.url,
        schema=schema,
        validation_column=validation_column,
        validation_fraction=validation_fraction,
        seed=seed,
        count_classes=tuple(count_classes),
        fill_value=fill_value,
        pad_value=pad_value,
        storage_options=folder.storage_options,
        named=folder.named,
    )
    entries = entries_of(chosen.mapInArrow(task, RESULT_SCHEMA))
    validated = validation_column is not None or validation_fraction > 0
    train, validation = manifests(folder.url, schema, entries)
    contents = [e for e in entries if e["split"] == CONTENT]
    content = identity(sum(e["rows"] for e in contents), sum(e["total"] for e in contents)) if checksum else ""
    return Dataset(train, validation if validated else None, time.perf_counter() - started, content)


def selected(
    df: DataFrame,
    schema: DataSchema,
    *,
    validation_column: str | None,
    validation_fraction: float,
    fill_value: float | None,
    pad_value: float | None,
    case_sensitive: bool,
    checksum: bool = False,
) -> tuple[DataFrame, DataSchema]:
    """Return the columns that a task packs, and the schema with what had to be known of the rows before.

    They are called "c0", "c1", ...: mapInArrow fails on names with dots and on equal ones.
    """
    if validation_column is not None:
        check_validation_column(df.schema, validation_column, case_sensitive)
        if validation_fraction > 0:
            raise SettingError("validationIndicatorCol and validationFraction are both set: set one")
    check_fill(schema, fill_value, pad_value)
    hashed = [row_hash(schema, validation_column, fill_value).alias(HASH_COLUMN)] if checksum else []
    schema = measured(df, schema, fill_value, pad_value, case_sensitive)
    columns = [type_of(f).expression(f).alias(input_column(n)) for n, f in enumerate(schema.fields)] + hashed
    if validation_column is not None:
        columns.append(column(validation_column).alias(SPLIT_COLUMN))
    return df.select(*columns), schema


def entries_of(packed: DataFrame) -> list[dict[str, Any]]:
    """Run the tasks and return what they say; `packed` has one column, "entry"."""
    with computing_rows(), ends_with_interrupt(packed.sparkSession):
        rows = packed.collect()
    return [json.loads(row["entry"]) for row in rows]


def manifests(url: str, schema: DataSchema, entries: Sequence[Mapping[str, Any]]) -> tuple[Manifest, Manifest]:
    """Return the manifests of the rows to learn from, and of those that are only measured."""
    train = _manifest(url, schema, [e for e in entries if e["split"] == TRAIN])
    return train, _manifest(url, train.schema, [e for e in entries if e["split"] == VALIDATION])


def check_fill(schema: DataSchema, fill_value: float | None, pad_value: float | None) -> None:
    """Refuse a value in the place of what is missing that is not of the column's type.

    Raises
    ------
    SettingError
        Names the column.
    """
    _check_whole("fillValue", fill_value, schema)
    _check_whole("padValue", pad_value, DataSchema(tuple(f for f in schema.fields if can_pad(f))))


def _check_whole(param: str, value: float | None, schema: DataSchema) -> None:
    if value is None or float(value).is_integer():
        return
    whole = next((f for f in schema.inputs if f.dtype == "int64"), None)
    if whole is not None:
        raise SettingError(
            f"{param}={value:g} is not a whole number, and column {whole.columns[0]!r} holds whole numbers: "
            f"set another {param}, or cast the column to double"
        )


def _manifest(url: str, schema: DataSchema, entries: Iterable[Mapping[str, Any]]) -> Manifest:
    """Put together what the tasks say: files in (partition, sequence) order, counts added up, shapes resolved."""
    files = []
    parts: dict[str, list[FieldCount]] = {f.name: [] for f in schema.fields}
    for entry in entries:
        if entry["file"] is not None:
            files.append(DataFile(**{**entry["file"], "row_groups": tuple(entry["file"]["row_groups"])}))
        for name, count in entry["counts"].items():
            parts.setdefault(name, []).append(FieldCount(**count))
    files.sort(key=lambda file: (file.partition, file.sequence))
    counts = {name: total(of_tasks) for name, of_tasks in parts.items()}
    shapes = {f.name: shape for f in schema.fields if (shape := _shape(counts[f.name])) is not None}
    return Manifest(url=url, schema=schema.resolved(shapes), files=tuple(files), counts=counts)


def _shape(count: FieldCount) -> tuple[int, ...] | None:
    """The most frequent shape; the only one, in data that is not refused."""
    ranked = [key for key in count.shapes if key != OTHER and "?" not in key]
    return tuple(int(part) for part in ranked[0].split(",")) if ranked else None
