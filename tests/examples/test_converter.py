"""The example of a loop of one's own, as users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "converter.py"


def test_converter(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "569 rows, {'features': (30,), 'label': ()}" in done.stdout
    rows, accuracy = re.findall(r"2 ranks, (\d+) rows in 15 epochs, accuracy (\S+)", done.stdout)[0]
    assert int(rows) == 15 * 569
    assert float(accuracy) > 0.97
    assert list(tmp_path.rglob("*.parquet")) == []
