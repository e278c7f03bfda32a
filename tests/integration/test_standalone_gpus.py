"""Stage-level scheduling on a standalone cluster: each rank sees the devices that Spark has given to its own task.

The worker's discovery script names two GPUs, so that what Spark does with their addresses can be seen on any machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

HOME = Path(pyspark.__file__).parent
ADDRESSES = ["5", "7"]

PROGRAM = """
import json, os, sys
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master(sys.argv[1]).config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.cores", "2").config("spark.executor.memory", "600m")
    .config("spark.executor.resource.gpu.amount", "2").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
from sparkdl import HorovodRunner, TorchRegressor
from sparkdl.errors import ClusterError

def look(train):
    from sparkdl.horovod import log_to_driver
    seen = {name: os.environ.get(name) for name in ("RANK", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LOCAL_RANK")}
    if train:
        import horovod.torch as hvd, torch
        hvd.init()
        seen["sum"] = float(hvd.allreduce(torch.ones(1), op=hvd.Sum))
    log_to_driver("SEEN " + json.dumps(seen))

def run(name, np, **options):
    print("RUN", name, flush=True)
    try:
        HorovodRunner(np=np, **options).run(look, train=np > 1)
    except ClusterError as error:
        print("REFUSED", error, flush=True)

run("own", 2, task_resources={"gpu": 1})
run("all", 1, task_resources={"cpus": 2, "gpu": 2})
run("none", 1)
run("hidden", 1, device="cpu", task_resources={"gpu": 1})
run("many", 3, task_resources={"gpu": 1})
rows = spark.createDataFrame([(float(i), 2.0 * i) for i in range(20)], "x double, label double")
model = TorchRegressor(featuresCol="x", module="mlp", epochs=1, batchSize=10, numProcs=1, device="cpu", verbose=0,
    taskResources={"cpus": 2, "gpu": 1}, cacheUrl=sys.argv[2], seed=1).fit(rows)
print("HISTORY", len(model.history), flush=True)
spark.stop()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def daemon(folder: Path, name: str, *arguments: str) -> Iterator[Path]:
    """Run a part of a standalone cluster; give the file with its log."""
    log = folder / f"{name}.log"
    env = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "SPARK_HOME": str(HOME)}
    with open(log, "wb") as out:
        # spark-class replaces itself by java, so this is the part's own process.
        command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name.lower()}.{name}", *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=folder)
        try:
            yield log
        finally:
            process.terminate()
            process.wait(30)


def wait_for(log: Path, words: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.3)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a standalone master with one worker of two cores and two GPUs."""
    folder = tmp_path_factory.mktemp("standalone")
    script = folder / "gpus.sh"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': ADDRESSES})}'\n")
    script.chmod(0o755)
    properties = folder / "worker.conf"
    properties.write_text(
        f"spark.worker.resource.gpu.amount {len(ADDRESSES)}\nspark.worker.resource.gpu.discoveryScript {script}\n"
    )
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    with ExitStack() as parts:
        where = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
        log = parts.enter_context(daemon(folder, "Master", *where))
        wait_for(log, "New state: ALIVE")
        size = ["--cores", "2", "--memory", "1g", "--webui-port", str(free_port()), "--work-dir", str(folder / "work")]
        settings = ["--properties-file", str(properties)]
        log = parts.enter_context(daemon(folder, "Worker", "--host", "127.0.0.1", *size, *settings, master))
        wait_for(log, "Successfully registered with master")
        yield master


def test_each_rank_sees_its_own_device_and_no_other(cluster: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), cluster, str(tmp_path / "rows")],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs: dict[str, list[dict[str, object]]] = {}
    refused: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith("RUN "):
            name = line.split()[1]
            runs[name] = []
        elif "SEEN " in line:
            runs[name].append(json.loads(line.partition("SEEN ")[2]))
        elif line.startswith("REFUSED "):
            refused[name] = line
    assert sorted(str(seen["CUDA_VISIBLE_DEVICES"]) for seen in runs["own"]) == ADDRESSES
    assert [seen["sum"] for seen in runs["own"]] == [2.0, 2.0]
    (alone,) = runs["all"]
    assert sorted(str(alone["CUDA_VISIBLE_DEVICES"]).split(",")) == ADDRESSES
    assert alone["OMP_NUM_THREADS"] == "2"
    assert [seen["CUDA_VISIBLE_DEVICES"] for seen in (*runs["none"], *runs["hidden"])] == ["", ""]
    assert refused.keys() == {"many"}
    assert "np=3 needs 3 task slots of 1 gpu each, this cluster has 2: lower np or add executors" in refused["many"]
    assert "HISTORY 1" in done.stdout
