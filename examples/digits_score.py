"""The second half of the demo: a new process loads the saved Pipeline and scores a batch and a stream.

Usage: python digits_score.py RESULTS, where RESULTS is the folder that digits.py has filled.
"""

import os
import sys
from pathlib import Path

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import sparkdl  # noqa: F401  (its stages can be loaded because it is installed; nothing has to be called)


def counts(scored: DataFrame) -> list[tuple[str, float, int]]:
    """Return how many images of each digit were given each prediction."""
    rows = scored.groupBy("digit", "prediction").agg(F.count("*").alias("images")).collect()
    return sorted((row.digit, row.prediction, row.images) for row in rows)


def main(results: Path) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.appName("digits-score")
        .master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    model = PipelineModel.load((results / "model").as_uri())
    test = spark.read.parquet((results / "test").as_uri())

    model.transform(test).write.mode("overwrite").parquet((results / "batch").as_uri())

    # One file in each micro-batch, and the stream ends when all files are read.
    arriving = spark.readStream.schema(test.schema).option("maxFilesPerTrigger", 1).parquet((results / "test").as_uri())
    query = (
        model.transform(arriving)
        .select("digit", "prediction")
        .writeStream.format("parquet")
        .option("path", (results / "stream").as_uri())
        .option("checkpointLocation", (results / "stream-checkpoint").as_uri())
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()

    expected = counts(spark.read.parquet((results / "expected").as_uri()))
    for name in ("batch", "stream"):
        found = counts(spark.read.parquet((results / name).as_uri()))
        if found != expected:
            sys.exit(f"{name}: the loaded model predicts otherwise than the one that was saved: {results / name}")
        print(f"  {name}: {sum(row[2] for row in found)} images, the same predictions, in {results / name}")
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
