"""Ctrl-C at the driver: the program ends, and so do its ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pyspark.sql import SparkSession
from sparkdl import HorovodRunner

spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "512m").config("spark.driver.host", "127.0.0.1").getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")

def sleep(folder):
    import os, pathlib, time
    pathlib.Path(folder, os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(600)

HorovodRunner(np=2, backend="torch").run(sleep, folder=sys.argv[1])
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids_in(folder: Path) -> list[int]:
    return [int(text) for path in folder.iterdir() if (text := path.read_text())]


def wait_for(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def test_ctrl_c_ends_the_program_and_its_ranks(tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    # A session of its own: a terminal's Ctrl-C reaches the JVM too, which then ends by itself.
    driver = subprocess.Popen(
        [sys.executable, program, ranks],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
        env=dict(os.environ, TMPDIR=str(tmp_path)),
    )
    try:
        assert wait_for(lambda: len(pids_in(ranks)) == 2 or driver.poll() is not None, 120)
        pids = pids_in(ranks)
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode != 0
        assert "KeyboardInterrupt" in errors
        assert wait_for(lambda: not any(is_alive(pid) for pid in pids), 20)
    finally:
        driver.kill()
        driver.wait()
