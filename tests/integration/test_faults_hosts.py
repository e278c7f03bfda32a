"""Two hosts: tasks run twice, and one host is lost in mid-fit: training goes on with what is left, each row once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.faults import EPOCHS, ROWS, assert_gone, seen
from tests.integration.test_standalone_gpus import daemon, free_port, wait_for

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

PROGRAM = """
import logging, sys, time
from pathlib import Path
from pyspark import TaskContext
from pyspark.sql import SparkSession
from tests.integration.faults import ROWS, Faults, Seen, Trace, regressor

master, folder = sys.argv[1:]
spark = (SparkSession.builder.master(master).config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.executor.cores", "1").config("spark.executor.memory", "600m")
    .config("spark.speculation", "true").config("spark.speculation.interval", "100ms")
    .config("spark.speculation.quantile", "0.5").config("spark.speculation.multiplier", "1.1").getOrCreate())
spark.sparkContext.setLogLevel("OFF")
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
logging.getLogger("sparkdl.cluster.driver.launch").setLevel(logging.INFO)
rows = spark.range(ROWS, numPartitions=3).selectExpr(
    "array(cast(id as float), cast(id % 3 as float)) features", "cast(id % 7 as double) label")
def slow(batches):
    # The first attempt of the last task gives no row while there is no other one, which Spark then starts.
    context = TaskContext.get()
    Path(folder, f"attempt-{context.partitionId()}-{context.attemptNumber()}").touch()
    if context.partitionId() == 2 and context.attemptNumber() == 0:
        time.sleep(300)
    yield from batches

began = time.monotonic()
frame = rows.mapInArrow(slow, rows.schema)
model = regressor(callbacks=[Trace(folder), Seen(folder), Faults(folder, [(10, 1, "loses_worker")])],
    checkpointUrl=f"{folder}/checkpoints", checkpointSteps=1, maxRestarts=1, minProcs=1).fit(frame)
print("ROWS", [row["rows"] for row in model.history], round(time.monotonic() - began, 1), flush=True)
spark.stop()
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """Address of a standalone master with two workers of one core."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    with ExitStack() as parts:
        where = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
        log = parts.enter_context(daemon(tmp_path, "Master", *where))
        wait_for(log, "New state: ALIVE")
        # Spark runs no second attempt on the host of the first.
        for host in ("127.0.0.1", "127.0.0.2"):
            folder = tmp_path / host
            folder.mkdir()
            size = ["--cores", "1", "--memory", "1g", "--webui-port", str(free_port()), "--work-dir", str(folder)]
            log = parts.enter_context(daemon(folder, "Worker", "--host", host, *size, address))
            wait_for(log, "Successfully registered with master")
        yield address


def test_second_attempts_and_a_lost_host_cost_no_row(master: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), master, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"ROWS {[ROWS] * EPOCHS}") for line in lines), done.stdout + done.stderr
    assert (tmp_path / "attempt-2-1").exists()
    [restart] = [line for line in lines if "restart " in line]
    assert "restart 1 of 1 with 1 ranks" in restart
    epochs = seen(tmp_path)
    assert sorted(epochs) == list(range(1, EPOCHS + 1))
    for rows in epochs.values():
        assert sorted(rows) == [float(number) for number in range(ROWS)]
    assert_gone(tmp_path, 3)
