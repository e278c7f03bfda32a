"""The examples as users run them: by python, by spark-submit, and as a notebook."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

# A program takes a minute or less on two idle cores; other work beside it makes it longer.
pytestmark = pytest.mark.timeout(600)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SPARK_SUBMIT = Path(sys.executable).with_name("spark-submit")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program of the examples in an empty folder and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def check_results(out: Path) -> None:
    for name in ("samples.png", "curves.png", "confusion.png"):
        with Image.open(out / name) as image:
            assert min(image.size) >= 200, name
    for folder in ("model", "batch", "stream"):
        assert any((out / folder).rglob("*.*")), folder
    with sqlite3.connect(out / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
        (epochs,) = database.execute("select max(step) from metrics where key = 'val_accuracy'").fetchone()
        assert epochs > 1
    assert any((out / "mlartifacts").rglob("MLmodel"))
    assert any((out / "mlartifacts").rglob("history.png"))


@pytest.mark.slow
def test_resume(tmp_path: Path) -> None:
    output = run(sys.executable, EXAMPLES / "resume.py", "--out", "results", cwd=tmp_path)
    assert "the weights are the same, bit for bit" in output
    (accuracy,) = re.findall(r"^accuracy (\S+) on held-out wines$", output, re.MULTILINE)
    assert float(accuracy) >= 0.93
    with Image.open(tmp_path / "results" / "resume.png") as image:
        assert min(image.size) >= 200


@pytest.mark.slow
def test_digits_by_spark_submit(tmp_path: Path) -> None:
    output = run(
        SPARK_SUBMIT,
        *("--master", "local[2]", "--conf", "spark.ui.enabled=false", EXAMPLES / "digits.py", "--out", "results"),
        cwd=tmp_path,
    )
    (accuracy,) = re.findall(r"done: accuracy (\S+) on", output)
    assert float(accuracy) >= 0.97
    for figure in ("accuracy", "precision", "recall", "F1"):
        ours, theirs = re.search(rf"^{figure} +(\S+) +(\S+)$", output, re.MULTILINE).groups()  # type: ignore[union-attr]
        assert ours == theirs
    assert output.count("the same predictions") == 2
    check_results(tmp_path / "results")


@pytest.mark.release
def test_digits_as_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("digits.ipynb", "digits_score.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.setenv("DEMO_RESULTS", "results")
    notebook = nbformat.read(tmp_path / "digits.ipynb", as_version=4)
    NotebookClient(notebook, timeout=560, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        str(output.text) for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    assert "done: accuracy 0.9" in printed
    shown = "".join(
        str(output["data"]["text/plain"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    assert re.search(r"done in .*\nepoch (\d+)/\1: loss", shown), "the bar is drawn in a notebook too"
    check_results(tmp_path / "results")


def test_the_notebook_is_the_program() -> None:
    make_notebook = runpy.run_path(str(EXAMPLES / "make_notebook.py"))["notebook"]
    made = make_notebook((EXAMPLES / "digits.py").read_text())
    kept = nbformat.read(EXAMPLES / "digits.ipynb", as_version=4)
    for cell in kept.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count, cell.metadata = [], None, {}
    assert nbformat.writes(kept) == nbformat.writes(made), "run python examples/make_notebook.py"


def test_the_notebook_is_kept_with_what_it_shows() -> None:
    notebook = nbformat.read(EXAMPLES / "digits.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == 3, "samples, curves and confusion"
    printed = "".join(output.text for output in outputs if "text" in output)
    (accuracy,) = re.findall(r"done: accuracy (\S+) on", printed)
    assert float(accuracy) >= 0.97

    text = printed + "".join(str(data.get(kind, "")) for data in shown for kind in ("text/plain", "text/html"))
    assert re.search(r"done in .*\nepoch (\d+)/\1: loss", text), "the last state of the bar"
    assert re.findall(r"(?:^|[\s'\"(=])/\w+/|file:/|sqlite:////|\d+\.\d+\.\d+\.\d+", text) == [], "paths and addresses"


@pytest.mark.slow
def test_horovod_runner(tmp_path: Path) -> None:
    output = run(sys.executable, EXAMPLES / "horovod_runner.py", cwd=tmp_path)
    assert "epoch 60: loss" in output
    (accuracy,) = re.findall(r"2 ranks, accuracy (\S+)", output)
    assert float(accuracy) > 0.97


@pytest.mark.slow
def test_regression_pipeline(tmp_path: Path) -> None:
    output = run(sys.executable, EXAMPLES / "regression_pipeline.py", cwd=tmp_path)
    (held_out,) = re.findall(r"^held out: R2 ([\d.]+)", output, re.MULTILINE)
    assert float(held_out) > 0.9
    assert os.listdir(tmp_path) == [], "no MLflow was asked for, nothing is left"
