"""Every kind of field reaches Arrow in its one narrow type, under any name, with its nulls visible."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from sparkdl.data.types import type_of
from sparkdl.schema import INPUT, Field
from sparkdl.spark.columns import quoted, vector_numbers

NAMES = ["plain", "with.dot", "two words", "dollar$1", "back`tick", "größe"]


def tensor_column(kind: str, columns: list[str], dtype: str, dims: int = 1) -> Column:
    field = Field("x", INPUT, kind, tuple(columns), dtype, (-1,) * dims)
    return type_of(field).expression(field)


def arrow(df: DataFrame, *columns: Column) -> pa.Table:
    """What reaches a function on the executors; `DataFrame.toArrow` came with pyspark 4.0."""

    def packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            yield pa.RecordBatch.from_pydict({"stream": [sink.getvalue().to_pybytes()]})

    chosen = df.select(*[column.alias(f"c{i}") for i, column in enumerate(columns)])
    rows = chosen.mapInArrow(packed, "stream binary").collect()
    return pa.concat_tables(pa.ipc.open_stream(row["stream"]).read_all() for row in rows)


def test_names_are_quoted_whatever_they_hold(spark: SparkSession) -> None:
    df = spark.createDataFrame([tuple(range(len(NAMES)))], NAMES)
    table = arrow(df, tensor_column("stacked", NAMES, "int64"), *(tensor_column("scalar", [n], "int64") for n in NAMES))
    assert table.column(0).to_pylist() == [list(range(len(NAMES)))]
    assert [table.column(i + 1)[0].as_py() for i in range(len(NAMES))] == list(range(len(NAMES)))
    assert quoted("a`b") == "`a``b`"


@pytest.mark.parametrize(
    ("spark_type", "value", "dtype", "expected"),
    [
        ("boolean", "true", "int64", 1),
        ("tinyint", "7", "int64", 7),
        ("bigint", str(2**62), "int64", 2**62),
        ("float", "1.5", "float32", 1.5),
        ("double", "2.5", "float32", 2.5),
        ("decimal(20,3)", "3.125", "float32", 3.125),
    ],
)
def test_numbers_are_cast_to_one_type(
    spark: SparkSession, spark_type: str, value: str, dtype: str, expected: float
) -> None:
    df = spark.sql(f"select cast({value} as {spark_type}) as n, array(cast({value} as {spark_type}), null) as a")
    table = arrow(
        df,
        tensor_column("scalar", ["n"], dtype),
        tensor_column("array", ["a"], dtype),
    )
    element = pa.int64() if dtype == "int64" else pa.float32()
    assert table.schema.types[0] == element
    assert [t.value_type for t in table.schema.types[1:]] == [element]
    assert [c[0].as_py() for c in table.columns] == [expected, [expected, None]]


def test_nulls_stay_visible(spark: SparkSession) -> None:
    df = spark.sql("select cast(null as int) a, 2 b, array(array(1, null), null) n")
    table = arrow(
        df,
        tensor_column("stacked", ["a", "b"], "float32"),
        tensor_column("array", ["n"], "int64", 2),
        tensor_column("scalar", ["a"], "int64"),
    )
    assert [c[0].as_py() for c in table.columns] == [[None, 2], [[1, None], None], None]


def test_numbers_of_vectors(spark: SparkSession) -> None:
    rows = [(Vectors.dense(1.5, 0.0),), (Vectors.sparse(2, {1: 3.0}),), (None,), (Vectors.sparse(2, {}),)]
    df = spark.createDataFrame(rows, StructType([StructField("v.x", VectorUDT())])).coalesce(1)
    table = arrow(df, vector_numbers("v.x"))
    assert table.schema.types[0].value_type == pa.float64()
    assert table.column(0).to_pylist() == [[1.5, 0.0], [0.0, 3.0], None, [0.0, 0.0]]


def test_images_pass_as_they_are(spark: SparkSession) -> None:
    df = spark.range(1).select(F.lit(b"abc").alias("image"))
    assert arrow(df, tensor_column("image", ["image"], "float32")).column(0).to_pylist() == [b"abc"]
