"""A driver that is gone in mid-fit, by a signal or spark.stop(): nothing of it stays, and the next program goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pyspark.sql import SparkSession

from sparkdl.data import clear_cache
from sparkdl.storage import leases
from tests.integration.faults import assert_gone, left_in, outcome, regressor, rows_of, wait_for

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

PROGRAM = """
import sys, threading
from pathlib import Path
import torch
from pyspark.sql import SparkSession
from tests.integration.faults import Faults, Trace, outcome, regressor, rows_of, wait_for

folder = sys.argv[1]
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m").config("spark.driver.host", "127.0.0.1").getOrCreate())
spark.sparkContext.setLogLevel("OFF")

def stop():
    wait_for(Path(folder, "stop").exists, 600)
    spark.stop()

threading.Thread(target=stop, daemon=True).start()
plan = [(step, 1, "waits") for step in (4, 8, 12, 16)]
model = regressor(callbacks=[Trace(folder), Faults(folder, plan)], checkpointUrl=f"{folder}/checkpoints",
    checkpointSteps=1, verbose=2).fit(rows_of(spark))
torch.save(outcome(model), f"{folder}/outcome.pt")
spark.stop()
"""


def run(folder: Path, end: Callable[[subprocess.Popen[str]], None] | None) -> tuple[int, str]:
    """Run the program until its rank waits, end it, and return its exit code and what it said."""
    with open(folder / "program.py", "w") as file:
        file.write(PROGRAM)
    # A session of its own: the signal is for the driver alone.
    driver = subprocess.Popen(
        [sys.executable, str(folder / "program.py"), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env=dict(os.environ, TMPDIR=str(folder / "temporary")),
    )
    try:
        if end is not None:
            here = folder / "here"
            assert wait_for(lambda: here.exists() or driver.poll() is not None, 200)
            assert driver.poll() is None, driver.communicate()[1]
            # The checkpoint before this step is whole.
            assert wait_for(lambda: any((folder / "checkpoints").glob("*/step-*/checkpoint.json")))
            here.unlink()
            end(driver)
        _, said = driver.communicate(timeout=200)
    finally:
        driver.kill()
        driver.wait()
    return driver.returncode, said


def test_the_next_program_goes_on_where_a_driver_was_gone(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    ends = {
        signal.SIGINT: "KeyboardInterrupt",
        signal.SIGTERM: "",
        signal.SIGKILL: "",
        None: "ClusterError: the barrier job of 2 ranks was cancelled",
    }
    said = ""
    stop = tmp_path / "stop"
    for number, (by, words) in enumerate(ends.items(), 1):
        code, said = run(tmp_path, lambda driver, by=by: stop.touch() if by is None else driver.send_signal(by))
        began = time.monotonic()
        assert words in said, said
        assert code == -by if by in (signal.SIGTERM, signal.SIGKILL) else code != 0, (code, said)
        assert_gone(tmp_path, 2 * number)
        assert time.monotonic() - began < 20
        assert ("resumed in epoch" in said) == (number > 1), said
        stop.unlink(missing_ok=True)
    code, said = run(tmp_path, None)
    assert code == 0, said
    assert "resumed in epoch 3" in said
    weights, history = torch.load(tmp_path / "outcome.pt")
    expected, rows = outcome(regressor().fit(rows_of(spark)))
    assert history == rows
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert left_in(tmp_path / "temporary") == []
    # The drivers that could say nothing have leases on the rows, for three days.
    kept = tmp_path / "checkpoints" / "rows"
    assert len(list(kept.glob("*/lease-*"))) <= 2
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + leases.SECONDS + 60)
    clear_cache(str(kept))
    assert list(kept.iterdir()) == []
