"""Two executors in processes of their own, as on a cluster: `local-cluster` runs real executors with real workers."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
import pytest

PROGRAM = """
import json, os, sys, time
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.memory", "600m").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
from sparkdl import HorovodRunner
from sparkdl.errors import RankError, RankLostError

class Own:
    "Defined in the script, so it travels by value, both ways."
    def __init__(self, total): self.total = total

def train(factor):
    import horovod.torch as hvd, torch
    from sparkdl.horovod import log_to_driver
    hvd.init()
    log_to_driver(f"rank {hvd.rank()}")
    return Own(float(hvd.allreduce(torch.ones(1) * factor, op=hvd.Sum))), hvd.local_size(), os.environ["LOCAL_RANK"]

def lose_executor():
    import psutil
    from sparkdl.horovod import log_to_driver
    # The folder's name has the process of the task: worker, daemon, executor.
    task = psutil.Process(int(os.path.basename(os.getcwd()).split("-")[2]))
    log_to_driver(f"PIDS {os.getpid()} {task.pid}")
    if os.environ["RANK"] == "1":
        time.sleep(1)
        executor = task.parent().parent()
        assert "CoarseGrainedExecutorBackend" in " ".join(executor.cmdline())
        executor.kill()
    time.sleep(120)

own, local_size, local_rank = HorovodRunner(np=2).run(train, factor=3)
assert type(own) is Own
print("VALUE", json.dumps([own.total, local_size, local_rank]))
begun = time.time()
try:
    HorovodRunner(np=2).run(lose_executor)
except RankLostError as error:
    print("LOST", round(time.time() - begun, 1), str(error).splitlines()[0])
spark.stop()
"""


@pytest.mark.slow
def test_two_executors_train_and_a_lost_one_ends_the_run(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert {"[0] rank 0", "[1] rank 1"} <= set(lines), done.stdout + done.stderr
    (value,) = [line for line in lines if line.startswith("VALUE")]
    assert json.loads(value[6:]) == [6.0, 2, "0"]
    (lost,) = [line for line in lines if line.startswith("LOST")]
    assert "was lost while 2 ranks ran" in lost
    assert float(lost.split()[1]) < 60
    pids = [int(pid) for line in lines if " PIDS " in line for pid in line.split()[2:]]
    assert len(pids) == 4
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
