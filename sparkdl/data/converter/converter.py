"""Rows for a training loop of the user's own: a DataFrame written once, or Parquet that exists, read by every rank.

The names are those of Petastorm's Spark converter; beneath is the feed of the estimators.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sparkdl.data.converter.dataset import SparkDatasetConverter
from sparkdl.data.external.fields import Columns
from sparkdl.data.external.footers import RESULT_SCHEMA, FooterTask
from sparkdl.data.external.listing import manifest_of
from sparkdl.data.format.manifest import FieldCount
from sparkdl.data.format.statistics import OTHER
from sparkdl.data.types import type_of
from sparkdl.data.write import check_folder, choose_folder, materialize, schema_of
from sparkdl.errors import ClusterError, DataError, SettingError, invalid, path_text
from sparkdl.schema import DataSchema, Field
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.frame import session_of
from sparkdl.spark.session import active_session, task_slots

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FLOAT32, FLOAT64 = "float32", "float64"

FEW_FILES = 32
"""So many footers are read sooner than a Spark job begins."""

_PARTS = 64
"""Tasks where nobody knows the slots."""


def make_spark_converter(
    df: DataFrame | str | os.PathLike[str],
    dtype: str | None = FLOAT32,
    *,
    parent_cache_dir_url: str | None = None,
    cache_url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    fill_value: float | None = None,
    pad_value: float | None = None,
) -> SparkDatasetConverter:
    """Write the rows of a DataFrame once, for loops that run inside `HorovodRunner` or on the driver.

    The rows are removed by `delete`, or when Python ends.

    Parameters
    ----------
    df : DataFrame, str or PathLike
        Every column goes in: select first. Numbers, booleans, arrays of numbers, Spark ML vectors, images. A path is
        that of Parquet that exists already, and is opened by `open_parquet`: nothing is written, and `delete` leaves
        the files alone.
    dtype : str or None
        Of numbers that are not whole: "float32", "float64", or None: as they are. Whole numbers are int64.
    parent_cache_dir_url : str, optional
        Petastorm's name for `cache_url`.
    cache_url : str, optional
        Folder below which the rows are written; chosen as for an estimator where it is not given.
    storage_options : mapping, optional
        For the file system of `cache_url`, by fsspec.
    fill_value, pad_value : float, optional
        For nulls; behind the elements of arrays that are shorter than the longest one of their column.

    Raises
    ------
    DataError
        A column of a type that cannot go in; nulls, arrays of different lengths, bytes that are no image: with the
        column and the number of rows.
    SettingError
        The folder is named twice, or a setting has no effect on Parquet that exists already.
    ClusterError
        There is no folder that all hosts share.
    """
    _check_dtype(dtype)
    if parent_cache_dir_url is not None:
        if cache_url is not None:
            raise SettingError("parent_cache_dir_url and cache_url are two names of one folder: give one of them")
        cache_url = parent_cache_dir_url
    if isinstance(df, (str, os.PathLike)):
        for name, value in (("cache_url", cache_url), ("fill_value", fill_value), ("pad_value", pad_value)):
            if value is not None:
                raise SettingError(
                    f"{name} has no effect on Parquet that exists already: leave it out, or give "
                    "spark.read.parquet(path) in place of the path"
                )
        return open_parquet(df, dtype=dtype, storage_options=storage_options)
    facts = SessionFacts.read(session_of("make_spark_converter", df))
    types = dict(df.dtypes)
    schema = schema_of(
        df.schema,
        inputs=[(name, (name,)) for name in df.columns],
        labels=(),
        weight=None,
        case_sensitive=facts.case_sensitive,
    )
    if not schema.fields:
        raise DataError("the DataFrame has no columns: a converter needs one at least")
    schema = DataSchema(tuple(_as_dtype(field, types[field.name], dtype) for field in schema.fields))
    check_folder(facts, cache_url, storage_options)
    with ExitStack() as failure:
        folder = failure.enter_context(choose_folder(df.sparkSession, facts, cache_url, storage_options))
        written = materialize(
            df, schema, folder, fill_value=fill_value, pad_value=pad_value, case_sensitive=facts.case_sensitive
        )
        train = written.train
        for field in train.schema.fields:
            _check_counts(field, train.counts[field.name], fill_value)
        removal = failure.pop_all()
    return SparkDatasetConverter(train, dtype=dtype, storage_options=storage_options, remove=removal.close)


def open_parquet(
    url: str | os.PathLike[str],
    columns: Columns = None,
    dtype: str | None = FLOAT32,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> SparkDatasetConverter:
    """Open Parquet that exists already, also a data set of Petastorm's or a Delta table, without writing it again.

    Footers are read by Spark tasks; where there is no session, by threads of this process. `delete` leaves the files
    alone.

    Parameters
    ----------
    url : str or PathLike
        Folder or file; anything that fsspec opens. Folders called "name=value" are columns, where all values are
        numbers. A Delta table needs the package deltalake.
    columns : list of str, or dict, optional
        Those that are read. As a dict: the name of each tensor, and the column that it is, or a list of columns of
        numbers that are stacked to (n, k).
    dtype : str or None
        Of numbers that are not whole: "float32", "float64", or None: as they are. Whole numbers are int64; bytes of
        fixed length, and whole arrays of bytes in Petastorm's data sets, stay uint8.
    storage_options : mapping, optional
        For fsspec.

    Raises
    ------
    DataError
        No file; a column that is missing or cannot go in; nulls, with the column and the number of rows.
    """
    _check_dtype(dtype)
    url = path_text("url", url)
    options = dict(storage_options or {})
    manifest = manifest_of(url, columns, dtype, options, _read_footers)
    return SparkDatasetConverter(manifest, dtype=dtype, storage_options=options)


def _read_footers(task: FooterTask) -> list[dict[str, Any]]:
    files = len(task.files)
    try:
        spark = active_session() if files > FEW_FILES else None
    except ClusterError:
        spark = None
    if spark is None:
        return task.read(range(files))
    parts = min(files, 2 * (task_slots(spark, SessionFacts.read(spark)) or _PARTS))
    rows = spark.range(0, files, 1, parts).mapInArrow(task, RESULT_SCHEMA).collect()
    return [entry for row in rows for entry in json.loads(row["entry"])]


def _check_dtype(dtype: str | None) -> None:
    if dtype not in (None, FLOAT32, FLOAT64):
        raise SettingError(invalid("dtype", dtype, "'float32', 'float64' or None (numbers keep their own)"))


def _as_dtype(field: Field, spark_type: str, dtype: str | None) -> Field:
    """The field in the precision that is asked for."""
    if field.dtype != FLOAT32 or type_of(field).pixels:
        return field
    wide = any(name in spark_type for name in ("double", "decimal", "vector"))
    return replace(field, dtype=dtype or (FLOAT64 if wide else FLOAT32))


def _check_counts(field: Field, count: FieldCount, fill_value: float | None) -> None:
    """Refuse what could not be written."""
    column = f"column {field.columns[0]!r}"
    if count.undecodable:
        raise DataError(f"{column} has {count.undecodable:,} rows whose bytes are no image: keep JPEG and PNG only")
    if count.nulls:
        if type_of(field).fillable and fill_value is not None:
            said = f"no row tells how long what fill_value={fill_value:g} fills has to be: leave the column out"
            raise DataError(f"{column} has {count.nulls:,} rows with a null, and {said}")
        remedy = "remove them, or set fill_value" if type_of(field).fillable else "remove them"
        raise DataError(f"{column} has {count.nulls:,} rows with a null: {remedy}")
    if len(count.shapes) > 1 or "?" in "".join(count.shapes):
        shown = ", ".join(f"{shape.replace(',', ' x ')} ({n:,} rows)" for shape, n in list(count.shapes.items())[:4])
        others = " and others" if len(count.shapes) > 4 or OTHER in count.shapes else ""
        kind = type_of(field)
        remedy = kind.remedy(field, count.shapes, "pad_value")
        raise DataError(f"{column} holds {kind.unequal}: {shown}{others}: {remedy}")
