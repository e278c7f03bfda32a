"""DataFrames that cannot be trained on: refused by their types where these tell, else by what the rows were counted."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from pyspark.ml.feature import OneHotEncoder
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl import TorchRegressor
from sparkdl.data import make_spark_converter
from sparkdl.errors import ColumnError, DataError, NetworkError, SettingError, SettingTypeError
from tests.bad_input.case import QUIET, Case, check, classifier, each, estimator, regressor

ALLOWED = r"\(numbers, booleans, dates, timestamps, arrays of numbers, Spark ML vectors, images can\)"
HAS = r" \(it has 'x', 'label', .* and \d+ more\)"
TABLE = pd.DataFrame({"x": [0.0, 1.0], "label": [0.0, 1.0]})


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """40 rows with a column for each thing that can be wrong."""
    n, last = F.col("id"), F.col("id") == 39
    pair = F.array(F.lit(1.0), F.lit(2.0))
    frame = spark.range(40, numPartitions=2).select(
        (n / 40).alias("x"),
        (n % 2).cast("double").alias("label"),
        (n * 700).cast("double").alias("price"),
        (n * 3_000_000).alias("far"),
        (n - 1).alias("minus one"),
        pair.alias("pair"),
        F.when(last, F.array(F.lit(1.0), F.lit(None))).otherwise(pair).alias("null inside"),
        F.when(last, F.array(F.lit(1.0), F.lit(float("inf")))).otherwise(pair).alias("infinity inside"),
        F.array().cast("array<double>").alias("nothing inside"),
        F.array(F.array(n)).alias("nested"),
        F.array(F.lit("a")).alias("texts"),
        F.create_map(F.lit("a"), n).alias("map"),
        F.struct(n.alias("a")).alias("struct"),
        F.expr("interval 1 day").alias("interval"),
        F.lit(None).alias("void"),
        F.lit(1e300).alias("huge"),
        F.lit("a").alias("text"),
        F.lit(b"no image").alias("bytes"),
        F.timestamp_seconds(n).alias("time"),
        F.when(last, None).otherwise(1.0).alias("null weight"),
        F.when(last, None).otherwise(n % 2 == 0).alias("null mark"),
        n.cast("int").alias("count"),
        (n / 40).alias("a.b $c"),
    )
    return frame.cache()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No rows of a fit that was refused are left."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    assert [path.name for path in folder.glob("sparkdl-*") if "prefork" not in path.name] == []


def several(**settings: list[str]) -> TorchRegressor:
    return TorchRegressor(**{**{k: v for k, v in QUIET.items() if k != "featuresCol"}, **settings})


def image(height: int, width: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def images(rows: DataFrame) -> DataFrame:
    small = F.col("x") < 0.2
    return rows.select(F.when(small, F.lit(image(4, 4))).otherwise(F.lit(image(4, 5))).alias("x"), "label")


def one_hot(rows: DataFrame) -> DataFrame:
    return OneHotEncoder(inputCol="label", outputCol="hot", dropLast=False).fit(rows).transform(rows)


def failing(rows: DataFrame) -> DataFrame:
    return rows.withColumn("x", F.udf(lambda value: 1 / 0, "double")("x"))


def no_input(column: str, kind: str, remedy: str, param: str = "featuresCol", use: str = "an input") -> str:
    return rf"{param}='{column}' is {kind} and cannot be {use} {ALLOWED}: {remedy}"


PARTS = "select the parts of it that are numbers into columns of their own"
STRINGS = r"turn strings into numbers first, with StringIndexer \(a class\), FeatureHasher or a cast"
TIMES = r"turn it into numbers first, with F.unix_date or F.unix_seconds \(in arrays by F.transform\)"

BY_TYPE = [
    # What is no DataFrame, or one without an end.
    Case(
        "fit-pandas",
        lambda rows: regressor().fit(TABLE),
        SettingTypeError,
        r"invalid dataset of fit=<DataFrame>: expected a Spark DataFrame, give spark.createDataFrame\(dataset\)",
    ),
    Case(
        "fit-pandas-with-param-maps",
        lambda rows: regressor().fit(TABLE, [{}]),
        SettingTypeError,
        r"invalid dataset of fitMultiple=<DataFrame>: expected a Spark DataFrame, give spark.createDataFrame.*",
    ),
    Case(
        "fit-pandas-on-spark",
        lambda rows: regressor().fit(rows.select("x", "label").pandas_api()),
        SettingTypeError,
        r"invalid dataset of fit=<DataFrame>: expected a Spark DataFrame, give dataset.to_spark\(\)",
        slow=True,
    ),
    Case(
        "fit-list",
        lambda rows: regressor().fit([(0.0, 1.0)]),
        SettingTypeError,
        r"invalid dataset of fit=\[\(0.0, 1.0\)\]: expected a Spark DataFrame, give spark.createDataFrame\(dataset\)",
    ),
    Case(
        "fit-path",
        lambda rows: regressor().fit("/data/rows"),
        SettingTypeError,
        r"invalid dataset of fit='/data/rows': expected a Spark DataFrame, give spark.read.parquet\(dataset\) or .*",
    ),
    Case(
        "fit-none",
        lambda rows: regressor().fit(None),
        SettingTypeError,
        "invalid dataset of fit=None: expected a Spark DataFrame",
    ),
    Case(
        "fit-groups",
        lambda rows: regressor().fit(rows.groupBy("label")),
        SettingTypeError,
        "invalid dataset of fit=.*GroupedData.*: expected a Spark DataFrame",
    ),
    Case(
        "fit-stream",
        lambda rows: regressor().fit(rows.sparkSession.readStream.format("rate").load()),
        SettingError,
        "invalid dataset of fit: it is a stream, which has no end: write it into a table and give that, or call fit .*",
    ),
    Case(
        "converter-pandas",
        lambda rows: make_spark_converter(TABLE),
        SettingTypeError,
        r"invalid dataset of make_spark_converter=<DataFrame>: expected a Spark DataFrame, give spark.createData.*",
    ),
    Case(
        "converter-text",
        lambda rows: make_spark_converter(rows.select("text")),
        ColumnError,
        rf"column 'text' is string and cannot be an input {ALLOWED}: {STRINGS}",
    ),
    # Columns that are not there, or twice; each Param is named.
    Case(
        "no-column",
        lambda rows: regressor(featuresCol="absent").fit(rows),
        DataError,
        f"featuresCol='absent' is not in the DataFrame{HAS}",
    ),
    Case(
        "no-column-dots",
        lambda rows: regressor(featuresCol="a.b c").fit(rows),
        DataError,
        rf"featuresCol='a.b c' is not in the DataFrame, did you mean 'a.b \$c'\?{HAS}",
    ),
    Case(
        "no-weight",
        lambda rows: regressor(weightCol="absent").fit(rows),
        DataError,
        f"weightCol='absent' is not in the DataFrame{HAS}",
    ),
    Case(
        "no-mark",
        lambda rows: regressor(validationIndicatorCol="absent").fit(rows),
        DataError,
        f"validationIndicatorCol='absent' is not in the DataFrame{HAS}",
    ),
    Case(
        "no-column-of-labels",
        lambda rows: estimator(labelCols=["label", "absent"], outputCols=["a", "b"]).fit(rows),
        DataError,
        f"column 'absent' of labelCols is not in the DataFrame{HAS}",
    ),
    Case(
        "no-column-of-features",
        lambda rows: several(featuresCols=["x", "absent"]).fit(rows),
        DataError,
        f"column 'absent' of featuresCols is not in the DataFrame{HAS}",
    ),
    Case(
        "no-column-of-inputs",
        lambda rows: several(inputCols=["x", "absent"]).fit(rows),
        DataError,
        f"column 'absent' of inputCols is not in the DataFrame{HAS}",
    ),
    Case(
        "no-columns",
        lambda rows: regressor().fit(rows.select()),
        DataError,
        r"featuresCol='x' is not in the DataFrame \(it has no columns\)",
    ),
    Case(
        "two-columns",
        lambda rows: regressor().fit(rows.select("x", "x", "label")),
        DataError,
        "featuresCol='x' stands 2 times in the DataFrame: rename or drop one",
    ),
    Case(
        "two-columns-by-case",
        lambda rows: regressor().fit(rows.select("x", "label", F.col("label").alias("LABEL"))),
        DataError,
        "labelCol='label' stands 2 times in the DataFrame: rename or drop one",
    ),
    # Types that cannot go in.
    Case("map", lambda rows: regressor(featuresCol="map").fit(rows), DataError, no_input("map", "map<.*>", PARTS)),
    Case(
        "struct",
        lambda rows: regressor(featuresCol="struct").fit(rows),
        DataError,
        no_input("struct", "struct<a:bigint>", PARTS),
    ),
    Case(
        "texts",
        lambda rows: regressor(featuresCol="texts").fit(rows),
        DataError,
        no_input("texts", "array<string>", STRINGS),
    ),
    Case(
        "interval",
        lambda rows: regressor(featuresCol="interval").fit(rows),
        DataError,
        no_input("interval", "interval day", "cast it to a number first"),
    ),
    Case(
        "void",
        lambda rows: regressor(featuresCol="void").fit(rows),
        DataError,
        no_input("void", "void", "cast it to a number first"),
    ),
    Case(
        "text-of-several",
        lambda rows: several(featuresCols=["x", "text"]).fit(rows),
        DataError,
        "column 'text' of featuresCols is string and cannot be one of the 2 columns that are stacked .*: " + STRINGS,
    ),
    Case(
        "text-label",
        lambda rows: classifier(labelCol="text").fit(rows),
        DataError,
        no_input("text", "string", STRINGS, "labelCol", "a label"),
    ),
    Case(
        "bytes-label",
        lambda rows: regressor(labelCol="bytes").fit(rows),
        DataError,
        "labelCol='bytes' holds images, and TorchRegressor learns one number: use TorchEstimator",
    ),
    Case(
        "one-hot-label",
        lambda rows: classifier(labelCol="hot").fit(one_hot(rows)),
        DataError,
        "labelCol='hot' holds arrays, and TorchClassifier learns the index of one class: give the column that "
        "OneHotEncoder was made from, or use TorchEstimator for several labels at once",
    ),
    Case(
        "vector-label-for-one-output",
        lambda rows: estimator(labelCol="hot", module=nn.Linear(1, 1)).fit(one_hot(rows)),
        NetworkError,
        "loss mse: .*; give the last layer as many numbers as the label has; the label is column 'hot', of 2 numbers "
        r"a row \(by its metadata, .*\)",
    ),
    Case(
        "text-weight",
        lambda rows: regressor(weightCol="text").fit(rows),
        DataError,
        rf"weightCol='text' is string and cannot be a weight \(numbers and booleans can\): {STRINGS}",
    ),
    Case(
        "time-weight",
        lambda rows: regressor(weightCol="time").fit(rows),
        DataError,
        rf"weightCol='time' is timestamp and cannot be a weight \(numbers and booleans can\): {TIMES}",
    ),
    Case(
        "array-weight",
        lambda rows: regressor(weightCol="pair").fit(rows),
        DataError,
        r"weightCol='pair' is array<double> and cannot be a weight \(numbers and booleans can\): .*",
    ),
    # Whole numbers for a network of fractions.
    Case(
        "whole-numbers",
        lambda rows: regressor(featuresCol="count", module=nn.Linear(1, 1)).fit(rows),
        NetworkError,
        r"the network Linear does not take its input features \(rows, 1\) int64: .*; "
        r"cast column 'count' to double, or begin forward with x.float\(\)",
    ),
    # Where rows cannot lie.
    Case(
        "cache-below-a-file",
        lambda rows: regressor(cacheUrl=f"{__file__}/rows").fit(rows),
        SettingError,
        f"invalid cacheUrl='{__file__}/rows': there is a file in its way, choose a folder",
    ),
    Case(
        "cache-is-a-file",
        lambda rows: regressor(cacheUrl=f"file://{__file__}").fit(rows),
        SettingError,
        f"invalid cacheUrl='file://{__file__}': there is a file in its way, choose a folder",
    ),
    Case(
        "cache-that-is-only-read",
        lambda rows: regressor(cacheUrl="data:,rows").fit(rows),
        SettingError,
        "invalid cacheUrl='data:,rows': a URL has two slashes behind its scheme, data://host/folder",
    ),
]

BY_ROWS = [
    Case(
        "null-inside",
        lambda rows: regressor(featuresCol="null inside").fit(rows),
        DataError,
        "featuresCol='null inside' has 1 row with a null: remove them, or set fillValue",
    ),
    Case(
        "infinity-inside",
        lambda rows: regressor(featuresCol="infinity inside").fit(rows),
        DataError,
        r"featuresCol='infinity inside' has 1 row with NaN, infinity or a number beyond float32 \(3.4e38\): remove .*",
    ),
    Case(
        "too-great-for-float32",
        lambda rows: several(featuresCols=["x", "huge"]).fit(rows),
        DataError,
        r"one of the columns 'x', 'huge' of featuresCols has 40 rows with NaN, infinity or a number beyond float32 .*",
    ),
    Case(
        "nothing-inside",
        lambda rows: regressor(featuresCol="nothing inside").fit(rows),
        DataError,
        "featuresCol='nothing inside' holds arrays without elements: fill them, or leave the column out",
    ),
    Case(
        "images-of-two-sizes",
        lambda rows: regressor(module="cnn").fit(images(rows)),
        DataError,
        r"featuresCol='x' holds images of different sizes: 3 x 4 x 5 \(32 rows\), 3 x 4 x 4 \(8 rows\): resize them .*",
    ),
    Case(
        "null-weight",
        lambda rows: regressor(weightCol="null weight").fit(rows),
        DataError,
        "weightCol='null weight' has 1 row with a null: remove them",
    ),
    Case(
        "null-mark",
        lambda rows: regressor(validationIndicatorCol="null mark").fit(rows),
        DataError,
        "validationIndicatorCol='null mark' has 1 row with a null: make it true or false",
    ),
    Case(
        "negative-class",
        lambda rows: classifier(labelCol="minus one").fit(rows),
        DataError,
        "labelCol='minus one' has the label -1: classes are numbered from 0 on, as by StringIndexer",
    ),
    Case(
        "regression-for-a-classifier",
        lambda rows: classifier(labelCol="price").fit(rows),
        DataError,
        r"labelCol='price' has the label 27300, and would give the network 27,301 outputs: is this a regression\? "
        "Then use TorchRegressor; for more than 100 classes set numClasses, or number them by StringIndexer",
    ),
    Case(
        "classes-far-apart",
        lambda rows: classifier(labelCol="far").fit(rows),
        DataError,
        r"labelCol='far' has the label 117000000, and would give the network 117,000,001 outputs: is this a regr.*",
    ),
    Case(
        "one-row",
        lambda rows: classifier().fit(rows.limit(1)),
        DataError,
        "labelCol='label' has the label 0 in every row, and a classifier needs two classes: set numClasses if .*",
    ),
    Case(
        "empty-partitions",
        lambda rows: regressor().fit(rows.filter("x > 5").repartition(3)),
        DataError,
        "the DataFrame is empty: fit needs at least one row",
    ),
    Case(
        "no-validation-rows",
        lambda rows: regressor(validationFraction=0.001).fit(rows),
        DataError,
        "validationFraction=0.001 of 40 rows takes none for validation: set another share, or use validationIndica.*",
    ),
    Case(
        "a-function-that-fails",
        lambda rows: regressor().fit(failing(rows)),
        DataError,
        r"Spark cannot compute the rows of the DataFrame: ZeroDivisionError: division by zero; look .*collect\(\)",
    ),
    Case(
        "a-function-that-fails-direct",
        lambda rows: regressor(feed="direct").fit(failing(rows)),
        DataError,
        r"Spark cannot compute the rows of the DataFrame: ZeroDivisionError: division by zero; look .*collect\(\)",
        slow=True,
    ),
]


@each(BY_TYPE)
def test_types_tell(rows: DataFrame, case: Case) -> None:
    check(case, rows)


@each(BY_ROWS)
def test_rows_tell(rows: DataFrame, case: Case) -> None:
    check(case, rows)


@pytest.mark.slow
def test_what_spark_raised_is_the_cause(rows: DataFrame) -> None:
    with pytest.raises(DataError) as error:
        regressor().fit(failing(rows))
    assert "Traceback" in str(error.value.__cause__)


@pytest.mark.slow
def test_files_that_are_gone(spark: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    rows.select("x", "label").write.parquet(str(tmp_path / "rows"))
    frame = spark.read.parquet(str(tmp_path / "rows"))
    for path in (tmp_path / "rows").glob("part-*"):
        path.unlink()
    with pytest.raises(DataError) as error:
        regressor().fit(frame)
    said = str(error.value)
    assert said.startswith("Spark cannot compute the rows of the DataFrame: [FAILED_READ_FILE")
    assert "\n" not in said
