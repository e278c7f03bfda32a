"""The example of a loop of one's own, as users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "converter.py"


@pytest.mark.slow
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
    learned, held_out = re.findall(r"(\d+) rows to learn from, (\d+) held out, {'features': \(30,\)", done.stdout)[0]
    assert int(learned) + int(held_out) == 569
    rows, accuracy = re.findall(r"2 ranks, (\d+) rows in 10 epochs, accuracy (\S+) held out", done.stdout)[0]
    assert int(rows) == 10 * int(learned)
    assert float(accuracy) > 0.95
    assert list(tmp_path.rglob("*.parquet")) == []
