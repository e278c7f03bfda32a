"""A training that is killed and goes on: the same curve, the same weights, as if nothing had been.

One of two ranks is killed in the middle of an epoch, as the out-of-memory killer would do it. Training goes on from the
last checkpoint. Beside it the same training runs undisturbed.

Usage: python examples/resume.py [--out FOLDER], or spark-submit examples/resume.py
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from sklearn.datasets import load_wine

from sparkdl import TorchClassifier
from sparkdl.train import Callback

KILLED_AT = 67


class Kill(Callback):
    """Kills the last rank at one step, once."""

    def __init__(self, marker):
        self._marker = marker

    def on_step_end(self, state):
        if state.step == KILLED_AT and state.rank == state.size - 1 and not Path(self._marker).exists():
            Path(self._marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def draw(undisturbed, resumed, path):
    """Write both loss curves into one picture, and where the rank was killed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in undisturbed]
    axes.plot(epochs, [row["loss"] for row in undisturbed], linewidth=6, alpha=0.3, label="undisturbed")
    axes.plot(epochs, [row["loss"] for row in resumed], "k--", label="killed and resumed")
    axes.axvline(KILLED_AT / 5, color="C3", label="SIGKILL")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="resume-results", help="where checkpoints and the picture go")
    out = Path(parser.parse_args().out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MASTER", "local[2]")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.appName("resume")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )

    wine = load_wine(as_frame=True)
    table = VectorAssembler(inputCols=wine.feature_names, outputCol="raw").transform(spark.createDataFrame(wine.frame))
    rows = StandardScaler(inputCol="raw", outputCol="features", withMean=True).fit(table).transform(table)
    train, test = rows.randomSplit([0.8, 0.2], seed=1)

    plain = TorchClassifier(
        labelCol="target",
        module="mlp",
        moduleParams={"dropout": 0.1},
        epochs=20,
        batchSize=32,
        learningRate=0.01,
        numProcs=2,
        verbose=0,
    )
    undisturbed = plain.fit(train)
    resumed = plain.copy(
        {
            plain.checkpointUrl: str(out / "checkpoints"),
            plain.checkpointSteps: 5,
            plain.maxRestarts: 1,
            plain.callbacks: [Kill(str(out / "killed"))],
            plain.verbose: 2,
        }
    ).fit(train)
    draw(undisturbed.history, resumed.history, out / "resume.png")

    ours, theirs = resumed.network.state_dict(), undisturbed.network.state_dict()
    same = all(torch.equal(ours[name], theirs[name]) for name in ours)
    accuracy = resumed.transform(test).filter("prediction = target").count() / test.count()
    print(f"the weights are {'the same, bit for bit' if same else 'others'}")
    print(f"accuracy {accuracy:.3f} on held-out wines")
    spark.stop()


if __name__ == "__main__":
    main()
