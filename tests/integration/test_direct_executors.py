"""feed="direct" on executors whose ranks cannot open the files of their tasks: all blocks are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]

# Python imports it when it starts, which forks of a prefork server do not. As where a rank is in another container than
# the task: no file can be opened.
APART = """
from sparkdl.cluster.spool import spool_file
spool_file._opened = lambda offered: None
"""

PROGRAM = """
import sys
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
spark = (SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.memory", "600m").config("spark.sparkdl.warmRanks", "false").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
from sparkdl import TorchRegressor
from sparkdl.train import Callback

class Look(Callback):
    def on_train_end(self, state):
        from sparkdl.cluster.rank import context
        from sparkdl.horovod import log_to_driver
        log_to_driver("OPENED " + " ".join(str(holding.local) for holding in context.current().spool_sources))

frame = spark.range(40000, numPartitions=4).select(
    F.array(*[F.rand(i).cast("float") for i in range(60)]).alias("features"), F.rand(99).alias("label"))

def fit(**settings):
    model = TorchRegressor(module="mlp", epochs=2, batchSize=500, numProcs=2, seed=1, verbose=2, validationFraction=0.2,
        device="cpu", callbacks=[Look()], **settings).fit(frame)
    return [(row["loss"], row["val_loss"]) for row in model.history], list(model.network.state_dict().values())

direct, files = fit(feed="direct"), fit(cacheUrl=sys.argv[1])
print("SAME", direct[0] == files[0] and all(map(torch.equal, direct[1], files[1])), flush=True)
spark.stop()
"""


def test_blocks_come_from_the_tasks_that_hold_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart" / "sitecustomize.py").write_text(APART)
    path = os.pathsep.join([str(tmp_path / "apart"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "rows")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert "SAME True" in done.stdout, done.stdout + done.stderr
    said = {line.partition("OPENED ")[2] for line in done.stderr.splitlines() if "OPENED " in line}
    # Those of the fit from files hold nothing.
    assert said == {"False False", ""}
