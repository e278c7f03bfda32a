"""Your own training loop on two Horovod ranks: HorovodRunner with scikit-learn's wine table.

Usage: python examples/horovod_runner.py, or spark-submit examples/horovod_runner.py
"""

import os
import sys

from pyspark.sql import SparkSession

from sparkdl import HorovodRunner
from sparkdl.horovod import log_to_driver


def train(epochs, learning_rate):
    """Run on every rank. What it needs is imported here, and what rank 0 returns comes back to the driver."""
    import horovod.torch as hvd
    import torch
    from sklearn.datasets import load_wine
    from torch import nn

    hvd.init()
    torch.manual_seed(1)

    order = torch.randperm(178)  # the same on every rank; the first 36 are held out, the ranks share the others
    inputs, labels = (torch.from_numpy(array)[order] for array in load_wine(return_X_y=True))
    inputs = ((inputs - inputs[36:].mean(0)) / inputs[36:].std(0)).float()
    mine = slice(36 + hvd.rank(), None, hvd.size())

    network = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    hvd.broadcast_parameters(network.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(
        torch.optim.Adam(network.parameters(), learning_rate), named_parameters=network.named_parameters()
    )
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs[mine]), labels[mine])
        loss.backward()
        optimizer.step()
        if hvd.rank() == 0 and epoch % 20 == 0:
            log_to_driver(f"epoch {epoch}: loss {loss.item():.4f}")

    accuracy = (network(inputs[:36]).argmax(1) == labels[:36]).float().mean().item()
    return {"ranks": hvd.size(), "accuracy": accuracy}


if __name__ == "__main__":
    os.environ.setdefault("MASTER", "local[2]")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.appName("horovod-runner")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    result = HorovodRunner(np=2).run(train, epochs=60, learning_rate=0.02)
    print(f"{result['ranks']} ranks, accuracy {result['accuracy']:.3f} on held-out wines")
    spark.stop()
