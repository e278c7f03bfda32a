"""What is made from the declarations is up to date, and type checkers see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SNIPPET = """
from sparkdl.params.stages import ClassifierParams

stage = ClassifierParams(epochs=3, module="mlp", moduleParams={"hidden": [8]}, metrics=["accuracy"])
reveal_type(stage.setEpochs(3).getEpochs())
reveal_type(stage.getWeightCol())
reveal_type(stage.setParams(numProcs=2))
stage.setEpochs("three")
ClassifierParams(epoch=3)
"""


def test_stubs_and_table_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_params.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, f"run python docs/make_params.py:\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_mypy_sees_accessors_and_keywords(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SNIPPET)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = [line.split("program.py:")[1] for line in done.stdout.splitlines() if "program.py:" in line]

    assert [line.split(": ", 1)[0] for line in lines if "error" in line] == ["8", "9"], done.stdout
    assert lines[0].endswith(('int"', 'builtins.int"'))
    assert "str | None" in lines[1]
    assert "ClassifierParams" in lines[2]
