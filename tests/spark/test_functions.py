"""Functions over Arrow batches, and what a task knows about itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType, LongType, StringType, StructField, StructType

from sparkdl.spark.functions import TaskResources, arrow_types, iterator_udf, on_local_master, task_resources

RESULT = StructType([StructField("twice", DoubleType()), StructField("cpus", LongType())])


def twice(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.StructArray]:
    cpus = task_resources().cpus
    for batch in batches:
        values = [None if value is None else 2.0 * value for value in batch[0].to_pylist()]
        yield pa.StructArray.from_arrays(
            [pa.array(values, pa.float64()), pa.array([cpus] * len(values))], ["twice", "cpus"]
        )


@pytest.mark.parametrize("arrow", [True, False], ids=["arrow_udf", "pandas_udf"])
def test_one_column_and_nulls(spark: SparkSession, arrow: bool) -> None:
    frame = spark.range(5).select("id", F.when(F.col("id") != 3, F.col("id").cast("float")).alias("x"))
    made = iterator_udf(twice, RESULT, arrow_types(frame.select("x").schema), arrow=arrow)(F.col("x"))
    rows = sorted(frame.select("id", made.getField("twice"), made.getField("cpus")).collect())
    assert [tuple(row) for row in rows] == [(i, None if i == 3 else 2.0 * i, 1) for i in range(5)]


@pytest.mark.parametrize("arrow", [True, False], ids=["arrow_udf", "pandas_udf"])
def test_results_that_are_no_structs(spark: SparkSession, arrow: bool) -> None:
    def listed(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        for one, other in batches:
            pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
            yield pa.array([None if x is None else [x, y] for x, y in pairs], pa.list_(pa.float64()))

    frame = spark.range(3).selectExpr("id", "double(if(id = 1, null, id)) as x", "2 * double(id) as y")
    types = arrow_types(frame.select("x", "y").schema)
    made = iterator_udf(listed, ArrayType(DoubleType()), types, arrow=arrow)(F.col("x"), F.col("y"))
    assert sorted(tuple(row) for row in frame.select("id", made).collect()) == [(0, [0, 0]), (1, None), (2, [2, 4])]


@pytest.mark.parametrize("arrow", [True, False], ids=["arrow_udf", "pandas_udf"])
def test_nan_is_a_number_and_whole_numbers_are_exact_beside_nulls(spark: SparkSession, arrow: bool) -> None:
    def shown(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        for batch in batches:
            yield pa.array([str(row) for row in zip(*(array.to_pylist() for array in batch), strict=True)])

    nan = float("nan")
    rows = [
        (0, 2**53 + 1, nan, [1.0, nan], [[2**53 + 1], []], True),
        (1, None, None, None, None, None),
        (2, -(2**63), 1.5, [None, nan], [[3]], False),
        (3, 5, -0.0, [], [], True),
    ]
    kinds = "id int, whole long, number float, list array<float>, nested array<array<long>>, truth boolean"
    frame = spark.createDataFrame(rows, kinds).coalesce(1)
    names = frame.columns[1:]
    types = arrow_types(frame.select(*names).schema)
    made = iterator_udf(shown, StringType(), types, arrow=arrow)(*(F.col(name) for name in names))
    got = [row["shown"] for row in frame.select("id", made.alias("shown")).orderBy("id").collect()]
    expected = [str(row[1:]) for row in rows]
    if not (arrow and hasattr(F, "arrow_udf")):
        # pandas has one word for both in one list.
        expected[2] = expected[2].replace("[None, nan]", "[None, None]")
    assert got == expected


def test_outside_of_tasks(spark: SparkSession) -> None:
    assert task_resources() == TaskResources(1, (), 0)
    assert on_local_master(spark)
