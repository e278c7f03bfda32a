"""Spark's workers forked from sparkdl's daemon, in an application of its own: the setting is one of its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json
import sys

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.python.daemon.module", "sparkdl.daemon")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .getOrCreate()
)


def look(_):
    import os
    import sys
    from pathlib import Path

    status = Path(f"/proc/{os.getppid()}/status").read_text()
    return "torch" in sys.modules, "pyarrow" in sys.modules, int(status.split("Threads:")[1].split()[0])


print(json.dumps(spark.sparkContext.parallelize(range(4), 4).map(look).collect()))
spark.stop()
"""


@pytest.mark.slow
def test_workers_find_torch_imported_and_no_thread_lost(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parents[1]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "PYTHONPATH": paths, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[True, False, 1]] * 4
