"""What is made from the declarations is up to date, and type checkers see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SNIPPET = """
from sparkdl import TorchClassifier, TorchEstimator, TorchRegressor
from sparkdl.params.stages import ClassifierParams

stage = ClassifierParams(epochs=3, module="mlp", moduleParams={"hidden": [8]}, metrics=["accuracy"])
reveal_type(stage.setEpochs(3).getEpochs())
reveal_type(stage.getWeightCol())
reveal_type(stage.setParams(numProcs=2))
stage.setEpochs("three")
ClassifierParams(epoch=3)
TorchEstimator(epochs=3, labelCols=["a", "b"]).setParams(outputCols=["c"], labelCol="a")
TorchClassifier(numProcs=2, numClasses=3).setParams(classWeights="balanced")
TorchRegressor(labelCol="y").setParams(batchSize=32)
TorchEstimator(numClasses=3)
TorchClassifier(labelCols=["a"])
TorchRegressor(epochs="three")
TorchEstimator().setParams(epoch=3)
TorchClassifier().setParams(numClasses="three")
TorchRegressor().setParams(labelCols=["a"])
"""
# Its lines with a wrong keyword or a wrong type.
WRONG = ["9", "10", "14", "15", "16", "17", "18", "19"]


def test_stubs_table_and_scala_are_up_to_date() -> None:
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

    assert [line.split(": ", 1)[0] for line in lines if "error" in line] == WRONG, done.stdout
    assert lines[0].endswith(('int"', 'builtins.int"'))
    assert "str | None" in lines[1]
    assert "ClassifierParams" in lines[2]
