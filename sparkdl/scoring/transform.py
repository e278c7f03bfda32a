"""The columns of a model on a DataFrame: batch, streaming, all other columns kept, features never sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DoubleType,
    FloatType,
    StructField,
    StructType,
)

from sparkdl.cluster.driver.pickling import driver_path
from sparkdl.data.types import type_of
from sparkdl.errors import SettingError
from sparkdl.scoring.executor import score_batches
from sparkdl.scoring.inputs import is_valid
from sparkdl.scoring.outputs import ARRAY, VECTOR, OutputColumn
from sparkdl.scoring.score_plan import SKIP, ScoringPlan
from sparkdl.scoring.ship import fetch, unpack
from sparkdl.spark.functions import arrow_types, by_rows, iterator_udf, on_local_master
from sparkdl.spark.python_memory import check_python_memory
from sparkdl.spark.session import case_sensitive, is_connect

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def add_columns(
    dataset: DataFrame,
    plan: ScoringPlan,
    send: Callable[[Any], str],
    *,
    pack: Callable[[], tuple[str, bytes]] | None = None,
    arrow: bool | None = None,
) -> DataFrame:
    """Return the DataFrame with the columns of a plan behind its own.

    Parameters
    ----------
    dataset : DataFrame
        Of any session; a streaming one too.
    plan : ScoringPlan
    send : callable
        Makes the network available to the executors of a session, and returns the name of its file.
    pack : callable, optional
        Returns the name of that file and what is in it, for streams over Spark Connect: their tasks get no files.
    arrow : bool, optional
        As for `iterator_udf`.

    Raises
    ------
    SettingError
        If a column of that name exists already, or two have the same name.
    """
    spark = dataset.sparkSession
    _check_names(plan.columns, dataset.columns, case_sensitive(spark))
    expressions = [type_of(field).expression(field) for field in plan.inputs]
    if plan.handle_invalid == SKIP:
        # Before the function and on its inputs: a filter on its output would make Spark compute it twice.
        pairs = zip(plan.inputs, expressions, strict=True)
        valid = (is_valid(field, expression, plan.fill_value) for field, expression in pairs)
        dataset = dataset.filter(reduce(lambda a, b: a & b, valid))
    if not plan.columns:
        return dataset
    check_python_memory(spark)
    content: bytes | None = None
    if pack is not None and dataset.isStreaming and is_connect(spark):
        name, content = pack()
    else:
        name = send(spark)
    function = iterator_udf(
        _function(plan, name, on_local_master(spark), content),
        _result_type(plan.columns),
        arrow_types(dataset.select(*expressions).schema),
        arrow=arrow,
    )
    dataset = by_rows(dataset)
    # Spark computes equal expressions once: the same call for every column costs one pass.
    scored = function(*expressions)
    values = [scored] if len(plan.columns) == 1 else [scored.getField(str(i)) for i in range(len(plan.columns))]
    return dataset.select("*", *(_column(value, c) for value, c in zip(values, plan.columns, strict=True)))


def added_fields(
    columns: Sequence[OutputColumn], schema: StructType, case_sensitive: bool = False
) -> list[StructField]:
    """Return the fields that `add_columns` puts behind those of a schema, for the columns of its plan.

    Whether names that differ only by case are different names, `case_sensitive` says, as ``spark.sql.caseSensitive``.

    Raises
    ------
    SettingError
        If a column of that name exists already, or two have the same name.
    """
    _check_names(columns, schema.names, case_sensitive)
    return [
        StructField(c.name, VectorUDT() if c.type == VECTOR else _spark_type(c), metadata=_metadata(c)) for c in columns
    ]


def _function(
    plan: ScoringPlan, name: str, local: bool, content: bytes | None
) -> Callable[[Iterator[Sequence[pa.Array]]], Any]:
    # As ranks do, so that a network of a module beside the driver's script is found where this host has the folder too.
    folders = driver_path()

    def score(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        if content is not None:
            unpack(name, content)
        return score_batches(plan, name, local, batches, partial(fetch, name, folders))

    return score


def _result_type(columns: Sequence[OutputColumn]) -> DataType:
    """Of one column its own: a struct costs the JVM a copy of each row."""
    if len(columns) == 1:
        return _spark_type(columns[0])
    return StructType([StructField(str(i), _spark_type(c)) for i, c in enumerate(columns)])


def _column(value: Column, column: OutputColumn) -> Column:
    if column.type == VECTOR:
        # array_to_vector fails on null. A vector straight from Python would be a UDT, which Spark 4.2 and 4.3
        # cannot take from a function over a vectorised Parquet scan.
        value = F.when(value.isNotNull(), array_to_vector(value))
    return value.alias(column.name, metadata=_metadata(column))


def _metadata(column: OutputColumn) -> dict[str, Any]:
    """Return what IndexToString reads: the labels that StringIndexer has numbered."""
    if not column.labels:
        return {}
    return {"ml_attr": {"type": "nominal", "name": column.name, "vals": list(column.labels)}}


def _spark_type(column: OutputColumn) -> DataType:
    kind: DataType = FloatType() if column.type == ARRAY else DoubleType()
    for _ in column.shape:
        kind = ArrayType(kind)
    return kind


def _check_names(columns: Sequence[OutputColumn], present: Sequence[str], case_sensitive: bool) -> None:
    def key(name: str) -> str:
        return name if case_sensitive else name.lower()

    taken = {key(name) for name in present}
    for column in columns:
        if key(column.name) in taken:
            raise SettingError(
                f"the output column {column.name!r} exists already: drop it, or give the model another name for it "
                "(an empty name leaves it out)"
            )
        taken.add(key(column.name))
