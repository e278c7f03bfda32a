"""A function that runs in one task of Spark's, and the one sentence where it fails there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sparkdl.errors import SparkDLError
from sparkdl.spark.executors import in_a_sentence, named

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def in_one_task(spark: SparkSession, function: Callable[[], Any]) -> Any:
    """Run a function in a task and return what it returns, which must be JSON.

    Only tasks are sure to have a file system's package and credentials.

    Raises
    ------
    SparkDLError
        What the function has raised, if that is an error of ours (Spark does not try it again), or what the executor
        lacks.
    """

    def there(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow

        for batch in batches:
            if batch.num_rows:
                try:
                    answer = {"value": function()}
                except SparkDLError as error:
                    answer = {"kind": type(error).__name__, "error": str(error)}
                yield pyarrow.RecordBatch.from_pydict({"answer": [json.dumps(answer)]})

    try:
        # One partition: each of those without rows would start a Python worker too.
        (row,) = spark.range(0, 1, 1, 1).mapInArrow(there, "answer string").collect()
    except Exception as error:
        told = in_a_sentence(error)
        if told is None:
            raise
        raise told from None
    answer = json.loads(row["answer"])
    if "error" in answer:
        raise named(answer["kind"], answer["error"]) from None
    return answer["value"]
