from __future__ import annotations

from typing import Any

from pyspark.ml import Estimator, Model, Pipeline
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.param import Param, Params
from pyspark.ml.param.shared import HasLabelCol, HasPredictionCol
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sparkdl.spark.folds import fold_of


class Same(Model, HasPredictionCol):
    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset.withColumn("prediction", F.col("label"))


class Noted(Estimator[Same], HasLabelCol):
    """Notes what it is told of the rows that it is given."""

    seen: list[Any] = []
    size: Param[int] = Param(Params._dummy(), "size", "a number")

    def _fit(self, dataset: DataFrame) -> Same:
        self.seen.append(fold_of(dataset))
        return Same()


def notes(tuning: Any, spark: SparkSession, in_a_pipeline: bool = False) -> list[Any]:
    stage = Noted()
    estimator = (
        Pipeline(stages=[VectorAssembler(inputCols=["label"], outputCol="f"), stage]) if in_a_pipeline else stage
    )
    Noted.seen.clear()
    frame = spark.range(40).select(F.col("id").cast("double").alias("label"))
    tuning.setEstimator(estimator).setEvaluator(RegressionEvaluator())
    tuning.setEstimatorParamMaps([{stage.size: 1}]).fit(frame)
    return list(Noted.seen)


def test_the_folds_of_a_cross_validator(spark: SparkSession) -> None:
    told = ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3", None]
    assert notes(CrossValidator(numFolds=3, seed=1), spark) == told
    assert notes(CrossValidator(numFolds=3, seed=1), spark, in_a_pipeline=True) == told


def test_every_number_of_folds(spark: SparkSession) -> None:
    for folds in (2, 7, 10):
        validator = CrossValidator(numFolds=folds, seed=1)
        told = [fold_of(train) for train, _ in validator._kFold(spark.range(10))]
        assert told == [f"fold {n} of {folds}" for n in range(1, folds + 1)]


def test_a_split_has_no_folds(spark: SparkSession) -> None:
    assert notes(TrainValidationSplit(seed=1), spark) == ["", None]


def test_other_rows_are_of_no_search(spark: SparkSession) -> None:
    assert fold_of(spark.range(3)) is None
    named = spark.range(3).withColumn("CrossValidator_0123456789ab_rand", F.rand())
    assert fold_of(named) == ""
