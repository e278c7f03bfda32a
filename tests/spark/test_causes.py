from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from sparkdl.errors import ClusterError
from sparkdl.spark.causes import cause_of

WORKER = (
    'Traceback (most recent call last):\n  File "worker.py", line 3602, in main\n    process()\n    ^^^^^^^^^\n'
    "ValueError: the sensor is broken\nand more of it\n"
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (f"An exception was thrown from the Python worker:\n{WORKER}", "ValueError: the sensor is broken"),
        (
            "An error occurred while calling o87.collectToPython.\n: org.apache.spark.SparkException: Job aborted: "
            f"org.apache.spark.api.python.PythonException: {WORKER}\n\tat org.apache.spark.A.b(A.scala:1)\n"
            "Caused by: java.lang.Odd",
            "ValueError: the sensor is broken",
        ),
        (
            f"{WORKER}\nDuring handling of the above exception, another exception occurred:\n\n"
            "Traceback (most recent call last):\n  File\nmy.own.OddError\n",
            "my.own.OddError",
        ),
        ("An error occurred while calling o1.fit.\n: java.lang.Odd: why\n\tat a.B", "java.lang.Odd: why"),
        ("An error occurred while calling o1.fit.\n: org.apache.spark.SparkException: why\n\tat a.B", "why"),
        (
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast.\n== SQL ==\n",
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast.",
        ),
        (RuntimeError("no rows in s3://bob:a/b@bucket/x?sig=1"), "no rows in s3://***@bucket/x?***"),
        (
            ClusterError(f"rank 1 on host b failed: ValueError: the sensor\n\n{WORKER}"),
            "rank 1 on host b failed: ValueError: the sensor",
        ),
        (RuntimeError("  \n"), "RuntimeError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (RuntimeError("x" * 10_000), "x" * 500),
    ],
)
def test_the_line_that_says_why(error: BaseException | str, cause: str) -> None:
    assert cause_of(error) == cause


def test_what_a_python_worker_of_spark_raises(spark: SparkSession) -> None:
    def broken(batches):  # type: ignore[no-untyped-def]
        raise ValueError("the sensor is broken")
        yield from batches

    frame: DataFrame = spark.range(1).mapInArrow(broken, "id long")
    with pytest.raises(Exception, match="sensor") as raised:
        frame.collect()
    assert cause_of(raised.value) == "ValueError: the sensor is broken"
