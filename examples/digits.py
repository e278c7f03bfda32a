# %% [markdown]
# # Handwritten digits: a deep network as a stage of a Spark ML Pipeline
#
# 1,797 real images of handwritten digits, 8 x 8 pixels each, from scikit-learn. A convolutional network is trained by
# two ranks inside a Spark barrier stage, as the last stage of an ordinary Pipeline. Then it is evaluated, saved,
# loaded in a new process, and used on a batch and on a stream.
#
# The same program runs in three ways: `python examples/digits.py`, `spark-submit examples/digits.py`, and as the
# notebook `examples/digits.ipynb`, which is made from this file, and run, by
# `python examples/make_notebook.py`.

# %%
import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import MinMaxScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, precision_recall_fscore_support

from sparkdl import TorchClassifier

began = time.monotonic()


def step(text):
    print(f"\n[{time.monotonic() - began:5.1f} s] {text}", flush=True)


# %% [markdown]
# ## Where the results go
# Into the folder `demo-results` of the working directory, or where `--out` or DEMO_RESULTS says.

# %%
HERE = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()

parser = argparse.ArgumentParser(description="Train, evaluate, save and use a digit classifier.")
parser.add_argument("--out", default=os.environ.get("DEMO_RESULTS", "demo-results"), help="folder of the results")
parser.add_argument("--ranks", type=int, default=2, help="ranks")
options, _ = parser.parse_known_args()  # a notebook has arguments of its own

OUT = Path(options.out)
OUT.mkdir(parents=True, exist_ok=True)


def uri(name):
    return (OUT / name).resolve().as_uri()


for old in ("mlartifacts", "stream", "stream-checkpoint"):
    shutil.rmtree(OUT / old, ignore_errors=True)
(OUT / "mlflow.db").unlink(missing_ok=True)
step(f"results go to {OUT}")

# %% [markdown]
# ## A Spark session
# `spark-submit` and notebooks on a cluster have a master already. Where nobody has named one: two task slots here,
# with the Python that runs this program, and without Spark's own progress lines.

# %%
os.environ.setdefault("MASTER", "local[2]")
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
spark = (
    SparkSession.builder.appName("digits")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
step(f"Spark {spark.version} on {spark.sparkContext.master}")

# %% [markdown]
# ## Real data in a DataFrame
# One row is an image: 64 columns of grey values from 0 to 16, and the digit as a word.

# %%
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

digits = load_digits()
pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
table = pd.DataFrame(digits.data, columns=pixels)
table["digit"] = [WORDS[target] for target in digits.target]

images = spark.createDataFrame(table)
train, test = images.randomSplit([0.8, 0.2], seed=7)
train, test = train.cache(), test.cache()
step(f"{train.count():,} images to learn from, {test.count()} held out")

samples, places = plt.subplots(2, 10, figsize=(8, 2), layout="constrained")
for place, image, target in zip(places.flat, digits.images, digits.target, strict=False):
    place.imshow(image, cmap="gray_r")
    place.set_title(target)
    place.axis("off")
samples.savefig(OUT / "samples.png")

# %% [markdown]
# ## The Pipeline
# Three stages of Spark's own, then ours. A vector of 64 values is a square image of one channel for the network "cnn".

# %%
classifier = TorchClassifier(
    featuresCol="features",
    labelCol="label",
    module="cnn",
    moduleParams={"channels": [32, 64], "hidden": [128], "dropout": 0.2},
    epochs=16,
    batchSize=64,
    learningRate=2e-3,
    validationFraction=0.1,
    metrics=["accuracy"],
    numProcs=options.ranks,
    seed=7,
)
pipeline = Pipeline(
    stages=[
        StringIndexer(inputCol="digit", outputCol="label", stringOrderType="alphabetAsc"),
        VectorAssembler(inputCols=pixels, outputCol="pixels"),
        MinMaxScaler(inputCol="pixels", outputCol="features"),
        classifier,
    ]
)

# %% [markdown]
# ## Training
# MLflow writes to a SQLite file; no server is needed. A tracking URI is set, so the fit records a run by itself.

# %%
mlflow.set_tracking_uri(f"sqlite:///{OUT / 'mlflow.db'}")
mlflow.create_experiment("digits", artifact_location=uri("mlartifacts"))
mlflow.set_experiment("digits")

step(f"training on {options.ranks} ranks in a barrier stage")
model = pipeline.fit(train)
network = model.stages[-1]
history = network.history.toPandas()
print(history[["epoch", "loss", "val_loss", "val_accuracy", "rows", "seconds"]].tail(5).to_string(index=False))

# %% [markdown]
# What it measured after each epoch:

# %%
network.plotHistory().savefig(OUT / "curves.png")
network.plotHistory()

# %% [markdown]
# ## Held-out accuracy
# By Spark's evaluator, and the same figures by scikit-learn from the same predictions.

# %%
scored = model.transform(test).cache()
ours = {
    figure: MulticlassClassificationEvaluator(metricName=name).evaluate(scored)
    for figure, name in [
        ("accuracy", "accuracy"),
        ("precision", "weightedPrecision"),
        ("recall", "weightedRecall"),
        ("F1", "f1"),
    ]
}
predictions = scored.select("label", "prediction").toPandas()
accuracy = accuracy_score(predictions.label, predictions.prediction)
averages = precision_recall_fscore_support(predictions.label, predictions.prediction, average="weighted")
theirs = dict(zip(ours, [accuracy, *averages[:3]], strict=True))

step("on the held-out images")
print(pd.DataFrame({"Spark's evaluator": ours, "scikit-learn": theirs}).round(4).to_string())
for figure in ours:
    if abs(ours[figure] - theirs[figure]) > 1e-9:
        sys.exit(f"{figure}: Spark's evaluator says {ours[figure]}, scikit-learn {theirs[figure]}")
if ours["accuracy"] < 0.97:
    sys.exit(f"held-out accuracy {ours['accuracy']:.4f} is below 0.97")

# %% [markdown]
# Which digits are taken for which:

# %%
indices = model.stages[0].labels  # of the StringIndexer: the word of each label
confusion, axes = plt.subplots(figsize=(6, 6), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    predictions.label,
    predictions.prediction,
    labels=[indices.index(word) for word in WORDS],
    display_labels=WORDS,
    ax=axes,
    cmap="Blues",
    colorbar=False,
)
confusion.savefig(OUT / "confusion.png")
step(f"figures: {OUT / 'samples.png'}, {OUT / 'curves.png'}, {OUT / 'confusion.png'}")

# %% [markdown]
# ## Saved, and loaded in a new process
# `digits_score.py` is the other half of this program: another process, perhaps another machine, that has nothing but
# the files. It scores the held-out images as a batch and as a stream.

# %%
model.write().overwrite().save(uri("model"))
test.repartition(2).write.mode("overwrite").parquet(uri("test"))
scored.select("digit", "prediction").write.mode("overwrite").parquet(uri("expected"))
step(f"the Pipeline is saved in {OUT / 'model'}; a new process loads it")

# Under spark-submit these variables would lead the new process to this one's JVM.
environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")}
command = [sys.executable, str(HERE / "digits_score.py"), str(OUT)]
print(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout)

# %% [markdown]
# ## What MLflow has

# %%
(run,) = mlflow.search_runs(output_format="list")
step(f"MLflow run {run.info.run_name}: {run.info.status}")
print(f"  params   {len(run.data.params)}, among them epochs={run.data.params['epochs']}")
print(f"  metrics  val_accuracy={run.data.metrics['val_accuracy']:.4f} after epoch {int(history.epoch.max())}")
print(f"  model    models:/{run.outputs.model_outputs[0].model_id}")
print(f"  to look  mlflow ui --backend-store-uri sqlite:///{OUT / 'mlflow.db'}")

step(f"done: accuracy {ours['accuracy']:.4f} on {test.count()} held-out images; all results lie in {OUT}")
spark.stop()
