"""What a method was given for rows: a DataFrame of Spark's that has an end, or the sentence for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparkdl.errors import SettingError, SettingTypeError, invalid

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def session_of(method: str, rows: Any) -> SparkSession:
    """Return the session of a DataFrame; refuse what is none, and for all but `transform` a stream.

    Parameters
    ----------
    method : str
        That got them.
    rows : object

    Raises
    ------
    SettingTypeError
        Says how to make a Spark DataFrame of what is there.
    SettingError
        They never end.
    """
    # Those of Spark Connect share no class with the others on every version.
    if not (hasattr(rows, "sparkSession") and hasattr(rows, "schema")):
        raise SettingTypeError(invalid(f"dataset of {method}", rows, f"a Spark DataFrame{_made_of(rows)}"))
    if rows.isStreaming and method != "transform":
        raise SettingError(
            f"invalid dataset of {method}: it is a stream, which has no end: write it into a table and give "
            "that, or call fit in foreachBatch"
        )
    session: SparkSession = rows.sparkSession
    return session


def _made_of(rows: Any) -> str:
    package = type(rows).__module__
    if package.startswith("pyspark.pandas"):
        return ", give dataset.to_spark()"
    if package.startswith(("pandas", "numpy")) or isinstance(rows, list):
        return ", give spark.createDataFrame(dataset)"
    if package.startswith("pyarrow"):
        return ", give spark.createDataFrame(dataset.to_pandas())"
    if package.startswith("polars"):
        return ", give spark.createDataFrame(dataset.to_pandas())"
    if package.startswith("pyspark.") and type(rows).__name__.endswith("RDD"):
        return ", give dataset.toDF()"
    if isinstance(rows, str):
        return ", give spark.read.parquet(dataset) or spark.table(dataset)"
    return ""
