"""Your own loop on a DataFrame's rows: make_spark_converter inside HorovodRunner, on a table of scikit-learn.

Usage: python examples/converter.py, or spark-submit examples/converter.py
"""

import os
import sys

from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer

from sparkdl import HorovodRunner
from sparkdl.data import make_spark_converter
from sparkdl.horovod import log_to_driver


def train(converter, held_out, epochs, batch_size):
    """Run on every rank: the loader gives each of them its share of the rows, in equally many batches."""
    import horovod.torch as hvd
    import torch
    from torch import nn

    hvd.init()
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    hvd.broadcast_parameters(network.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(
        torch.optim.Adam(network.parameters(), 0.01), named_parameters=network.named_parameters()
    )

    rows = 0
    with converter.make_torch_dataloader(batch_size, num_epochs=1, seed=7) as loader:
        for epoch in range(1, epochs + 1):
            for batch in loader:
                rows += len(batch["label"])
                optimizer.zero_grad()
                # A rank may have fewer rows in the last batch of an epoch, or none: sums add up, means would not.
                loss = nn.functional.binary_cross_entropy_with_logits(
                    network(batch["features"]).squeeze(1), batch["label"], reduction="sum"
                )
                (loss / batch_size).backward()
                optimizer.step()
            if hvd.rank() == 0 and epoch % 5 == 0:
                log_to_driver(f"epoch {epoch}: {loader.steps_per_epoch} batches on each rank")

    right = 0.0
    with held_out.make_torch_dataloader(batch_size, num_epochs=1, shuffle=False) as loader:
        for batch in loader:
            right += ((network(batch["features"]).squeeze(1) > 0) == batch["label"].bool()).sum().item()
    totals = hvd.allreduce(torch.tensor([rows, right]), op=hvd.Sum)
    return {"ranks": hvd.size(), "rows": int(totals[0]), "accuracy": totals[1].item() / len(held_out)}


if __name__ == "__main__":
    os.environ.setdefault("MASTER", "local[2]")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.appName("converter")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(0)) / features.std(0)
    table = spark.createDataFrame(
        [(row.tolist(), float(label)) for row, label in zip(features, labels, strict=True)], ["features", "label"]
    )

    converter, held_out = (make_spark_converter(part) for part in table.randomSplit([0.8, 0.2], seed=7))
    print(f"{len(converter)} rows to learn from, {len(held_out)} held out, {converter.columns}")
    result = HorovodRunner(np=2).run(train, converter=converter, held_out=held_out, epochs=10, batch_size=32)
    print(f"{result['ranks']} ranks, {result['rows']} rows in 10 epochs, accuracy {result['accuracy']:.3f} held out")
    converter.delete()
    held_out.delete()
    spark.stop()
