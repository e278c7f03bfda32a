from __future__ import annotations

import pytest

from sparkdl.errors import ClusterError, DataError
from sparkdl.spark.executors import in_a_sentence, shortcoming

LOST = "Lost task 0.0 in stage 1.0 (TID 3) (10.0.0.7 executor 3): "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            LOST + "org.apache.spark.api.python.PythonException: ModuleNotFoundError: No module named 'sparkdl.data'",
            "the executor at 10.0.0.7 (executor 3) has another project's or version's sparkdl (no sparkdl.data): "
            "install the driver's sparkdl-torch on all hosts (docs/executors.md)",
        ),
        (
            "ModuleNotFoundError: No module named 'sparkdl'",
            "an executor has no sparkdl-torch: install the driver's sparkdl-torch on all hosts (docs/executors.md)",
        ),
        (
            "ModuleNotFoundError: No module named 'shop'",
            "an executor has no shop: install it on all hosts (docs/executors.md)",
        ),
        (
            "[PACKAGE_NOT_INSTALLED] PyArrow >= 18.0.0 must be installed; however, it was not found.",
            "an executor has no pyarrow: install it on all hosts (docs/executors.md)",
        ),
        (
            LOST + "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.10 than that in driver: 3.11,",
            "the executor at 10.0.0.7 (executor 3) has Python 3.10, the driver has 3.11: "
            "set PYSPARK_PYTHON to the same Python on all hosts",
        ),
        (
            LOST + "java.io.IOException: No space left on device",
            "the executor at 10.0.0.7 (executor 3) has a full disk (No space left on device): free space there, or let "
            "spark.local.dir (SPARK_LOCAL_DIRS) and, for rows that are kept, cacheUrl name a larger disk",
        ),
        (
            LOST + "OSError: [Errno 122] Disk quota exceeded: '/rows/part-0.parquet'\n SQLSTATE: 38000",
            "the executor at 10.0.0.7 (executor 3) cannot write /rows/part-0.parquet (Disk quota exceeded): free space "
            "there, or let spark.local.dir (SPARK_LOCAL_DIRS) and, for rows that are kept, cacheUrl name a larger disk",
        ),
        (LOST + "java.lang.OutOfMemoryError: Java heap space", None),
    ],
)
def test_what_an_executor_lacks_is_a_sentence(text: str, said: str | None) -> None:
    assert shortcoming(RuntimeError(text)) == said


def test_an_error_of_ours_is_found_in_sparks_pages() -> None:
    page = (
        "An exception was thrown from the Python worker:\nTraceback (most recent call last):\n  File ...\n"
        "OSError: refused\n\nDuring handling of the above exception, another exception occurred:\n\n"
        "sparkdl.errors.{}: cacheUrl='s3://b/x' cannot be written (OSError: refused)\n SQLSTATE: 38000"
    )
    told = in_a_sentence(RuntimeError(page.format("DataError")))
    assert isinstance(told, DataError)
    assert str(told) == "cacheUrl='s3://b/x' cannot be written (OSError: refused)"
    assert isinstance(in_a_sentence(RuntimeError(page.format("OfTomorrowError"))), ClusterError)
    assert isinstance(in_a_sentence(RuntimeError(LOST + "java.io.IOException: No space left on device")), ClusterError)
    assert in_a_sentence(RuntimeError(LOST + "java.lang.OutOfMemoryError")) is None
