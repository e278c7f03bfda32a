"""The one Spark action that writes the rows, and what comes back of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sparkdl.data.counts import OTHER, total
from sparkdl.data.manifest import DataFile, FieldCount, Manifest
from sparkdl.data.materialize.fields import check_validation_column
from sparkdl.data.materialize.place import Place
from sparkdl.data.materialize.task import (
    RESULT_SCHEMA,
    SPLIT_COLUMN,
    TRAIN,
    VALIDATION,
    WriteTask,
    input_column,
)
from sparkdl.data.schema import ARRAY, INPUT, VECTOR, DataSchema, Field
from sparkdl.errors import SettingError
from sparkdl.spark.columns import column, padded, tensor_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


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
        Time of the writing.
    """

    train: Manifest
    validation: Manifest | None
    seconds: float


def materialize(
    df: DataFrame,
    schema: DataSchema,
    place: Place,
    *,
    validation_column: str | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    count_classes: Sequence[str] = (),
    fill_value: float | None = None,
    pad_value: float | None = None,
) -> Dataset:
    """Write the rows of `df` as packed Parquet files into `place` and count what they hold.

    Rows that cannot be packed (a null, another shape than the rows before) are counted and not written: who calls
    this refuses them by the counts. `nulls` and `shapes` are counted over all rows, the rest over those written.
    `pad_value` costs one more pass over the data, for the greatest length.

    Parameters
    ----------
    df : DataFrame
    schema : DataSchema
        From `schema_of`.
    place : Place
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

    Raises
    ------
    DataError
        The validation column is missing or not boolean.
    """
    if validation_column is not None:
        check_validation_column(df.schema, validation_column)
        if validation_fraction > 0:
            raise SettingError("validationIndicatorCol and validationFraction are both set: set one")
    started = time.perf_counter()
    columns = _columns(df, schema, fill_value, pad_value)
    if validation_column is not None:
        columns.append(column(validation_column).alias(SPLIT_COLUMN))
    task = WriteTask(
        url=place.url,
        schema=schema,
        validation_column=validation_column,
        validation_fraction=validation_fraction,
        seed=seed,
        count_classes=tuple(count_classes),
        fill_value=fill_value,
        storage_options=place.storage_options,
    )
    rows = df.select(*columns).mapInArrow(task, RESULT_SCHEMA).collect()
    entries = [json.loads(row["entry"]) for row in rows]
    validated = validation_column is not None or validation_fraction > 0
    train = _manifest(place.url, schema, [e for e in entries if e["split"] == TRAIN])
    validation = _manifest(place.url, train.schema, [e for e in entries if e["split"] == VALIDATION])
    return Dataset(train, validation if validated else None, time.perf_counter() - started)


def _columns(df: DataFrame, schema: DataSchema, fill_value: float | None, pad_value: float | None) -> list[Column]:
    """One expression for each field, called "c0", "c1", ...: mapInArrow fails on names with dots and on equal ones."""
    values = [
        tensor_column(f.kind, f.columns, f.dtype, len(f.shape), fill_value if f.role == INPUT else None)
        for f in schema.fields
    ]
    if pad_value is not None:
        ragged = [place for place, f in enumerate(schema.fields) if _can_pad(f)]
        longest = _longest(df, {place: values[place] for place in ragged})
        for place in ragged:
            if longest[place]:
                values[place] = padded(values[place], longest[place], pad_value, schema.fields[place].dtype)
    return [value.alias(input_column(place)) for place, value in enumerate(values)]


def _can_pad(field: Field) -> bool:
    return field.role == INPUT and field.kind in (ARRAY, VECTOR) and len(field.shape) == 1


def _longest(df: DataFrame, values: Mapping[int, Column]) -> dict[int, int]:
    """Greatest length of each array, in one pass."""
    if not values:
        return {}
    row = df.agg(*(F.max(F.size(value)).alias(input_column(place)) for place, value in values.items())).collect()[0]
    return {place: max(0, row[input_column(place)] or 0) for place in values}


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
