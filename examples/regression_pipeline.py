"""Tabular regression with cross-validation: a table of scikit-learn, a Pipeline, and Spark's own CrossValidator.

From the mean measurements of the cell nuclei in an image the radius of the largest of them is foretold.

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
from sklearn.datasets import load_breast_cancer

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

    images = load_breast_cancer(as_frame=True).frame
    measured = [name for name in images.columns if name.startswith("mean ")]
    train, test = spark.createDataFrame(images[[*measured, "worst radius"]]).randomSplit([0.8, 0.2], seed=3)

    assembler = VectorAssembler(inputCols=measured, outputCol="raw")
    scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
    regressor = TorchRegressor(
        labelCol="worst radius",
        module="mlp",
        moduleParams={"hidden": [32]},
        learningRate=0.01,
        batchSize=32,
        epochs=50,
        seed=3,
        verbose=0,
    )
    grid = ParamGridBuilder().addGrid(regressor.moduleParams, [{"hidden": [16]}, {"hidden": [64]}]).build()
    evaluator = RegressionEvaluator(labelCol="worst radius", metricName="r2")
    search = CrossValidator(
        estimator=Pipeline(stages=[assembler, scaler, regressor]),
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=2,
        parallelism=2,
        seed=3,
    ).fit(train)
    linear = Pipeline(stages=[assembler, LinearRegression(featuresCol="raw", labelCol="worst radius")]).fit(train)

    for params, r2 in zip(grid, search.avgMetrics, strict=True):
        print(f"{params[regressor.moduleParams]}: R2 {r2:.3f} over the folds")
    print(f"Spark's LinearRegression: R2 {evaluator.evaluate(linear.transform(test)):.3f}")
    print(f"held out: R2 {evaluator.evaluate(search.transform(test)):.3f}, where always the mean has 0")
    spark.stop()


if __name__ == "__main__":
    main()
