"""Tabular regression with cross-validation: scikit-learn's diabetes table, a Pipeline, and Spark's own CrossValidator.

Usage: python examples/regression_pipeline.py, or spark-submit examples/regression_pipeline.py
"""

import os
import sys

from pyspark.ml import Pipeline
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession
from sklearn.datasets import load_diabetes

from sparkdl import TorchRegressor


def main():
    os.environ.setdefault("MASTER", "local[2]")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.appName("regression")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )

    diabetes = load_diabetes(as_frame=True)
    patients = spark.createDataFrame(diabetes.frame)
    train, test = patients.randomSplit([0.8, 0.2], seed=3)

    assembler = VectorAssembler(inputCols=diabetes.feature_names, outputCol="raw")
    scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
    regressor = TorchRegressor(
        labelCol="target",
        module="mlp",
        moduleParams={"hidden": [32]},
        learningRate=0.01,
        batchSize=32,
        epochs=30,
        seed=3,
        verbose=0,
    )
    grid = ParamGridBuilder().addGrid(regressor.moduleParams, [{"hidden": []}, {"hidden": [32]}]).build()
    evaluator = RegressionEvaluator(labelCol="target", metricName="rmse")
    search = CrossValidator(
        estimator=Pipeline(stages=[assembler, scaler, regressor]),
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=2,
        parallelism=2,
        seed=3,
    ).fit(train)
    linear = Pipeline(stages=[assembler, LinearRegression(featuresCol="raw", labelCol="target")]).fit(train)

    for params, rmse in zip(grid, search.avgMetrics, strict=True):
        print(f"{params[regressor.moduleParams]}: rmse {rmse:.1f} over the folds")
    print(f"held out: rmse {evaluator.evaluate(search.transform(test)):.1f}")
    print(f"Spark's LinearRegression: rmse {evaluator.evaluate(linear.transform(test)):.1f}")
    spark.stop()


if __name__ == "__main__":
    main()
