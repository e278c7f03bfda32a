"""feed="direct" on a standalone cluster of two hosts: a rank reads blocks of its host from a file, else by network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.test_standalone_gpus import daemon, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

HOSTS = ("127.0.0.1", "127.0.0.2")

PROGRAM = """
import sys
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
spark = (SparkSession.builder.master(sys.argv[1]).config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.cores", "1").config("spark.executor.memory", "600m").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
from sparkdl import TorchRegressor
from sparkdl.errors import ClusterError
from sparkdl.train import Callback

class Look(Callback):
    def on_train_end(self, state):
        from sparkdl.cluster import rank_state
        from sparkdl.horovod import log_to_driver
        context = rank_state.current()
        log_to_driver(f"HELD {context.host} " + " ".join(sorted(f"{h.host}:{h.local}" for h in context.holdings)))

frame = spark.range(60000, numPartitions=4).select(
    F.array(*[F.rand(i).cast("float") for i in range(60)]).alias("features"), F.rand(99).alias("label"))

def fit(**settings):
    model = TorchRegressor(module="mlp", epochs=2, batchSize=500, numProcs=2, seed=1, verbose=2, validationFraction=0.2,
        device="cpu", callbacks=[Look()], **settings).fit(frame)
    return [(row["loss"], row["val_loss"]) for row in model.history], list(model.network.state_dict().values())

try:
    fit()
except ClusterError as error:
    print("REFUSED", error, flush=True)
direct, files = fit(feed="direct"), fit(cacheUrl=sys.argv[2])
print("SAME", direct[0] == files[0] and all(map(torch.equal, direct[1], files[1])), flush=True)
spark.stop()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Address of a standalone master with one worker of one core on each of two loopback addresses."""
    with ExitStack() as stack:
        port = free_port()
        master = f"spark://127.0.0.1:{port}"
        options = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port()))
        log = stack.enter_context(daemon(tmp_path, "Master", *options))
        wait_for(log, "New state: ALIVE")
        for number, host in enumerate(HOSTS):
            folder = tmp_path / f"worker{number}"
            folder.mkdir()
            options = ("--host", host, "--cores", "1", "--memory", "1g", "--work-dir", str(folder / "work"))
            ports = ("--webui-port", str(free_port()))
            log = stack.enter_context(daemon(folder, "Worker", *options, *ports, master))
            wait_for(log, "Successfully registered with master")
        yield master


def test_blocks_of_the_other_host_come_over_the_network(cluster: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), cluster, str(tmp_path / "rows")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert "SAME True" in done.stdout, done.stdout + done.stderr
    assert "set cacheUrl" in done.stdout
    assert "feed='direct'" in done.stdout
    for host in HOSTS:
        assert f"HELD {host} " + " ".join(f"{each}:{each == host}" for each in HOSTS) in done.stderr
