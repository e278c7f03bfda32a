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
    def uri(name: str) -> str:
        return (results / name).resolve().as_uri()

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
    model = PipelineModel.load(uri("model"))
    test = spark.read.parquet(uri("test"))

    model.transform(test).write.mode("overwrite").parquet(uri("batch"))

    # One file in each micro-batch, and the stream ends when all files are read.
    arriving = spark.readStream.schema(test.schema).option("maxFilesPerTrigger", 1).parquet(uri("test"))
    query = (
        model.transform(arriving)
        .select("digit", "prediction")
        .writeStream.format("parquet")
        .option("path", uri("stream"))
        .option("checkpointLocation", uri("stream-checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()

    expected = counts(spark.read.parquet(uri("expected")))
    for name in ("batch", "stream"):
        found = counts(spark.read.parquet(uri(name)))
        if found != expected:
            sys.exit(f"{name}: the loaded model predicts otherwise than the one that was saved: {results / name}")
        print(f"  {name}: {sum(row[2] for row in found)} images, the same predictions, in {results / name}")
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
