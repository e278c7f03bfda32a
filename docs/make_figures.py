"""Make docs/figures/history.svg and docs/figures/notebook.png from a fit in a real notebook.

Usage: python docs/make_figures.py [--only history]

The notebook is executed; `history.svg` is what `plotHistory` draws, `notebook.png` the cell as it stands half-way
through the fit, drawn by a browser (chromium or google-chrome has to be on the path). `architecture.svg` is drawn by
hand.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures"

ROWS = """\
from pyspark.sql import SparkSession, functions as F
from sparkdl import TorchClassifier

spark = SparkSession.builder.master("local[2]").getOrCreate()
rows = spark.range(20000).select(F.rand(1).alias("x"), F.rand(2).alias("y"))
rows = rows.withColumn("label", (F.col("x") * F.col("y") > 0.25).cast("int"))
"""
FIT = """\
classifier = TorchClassifier(
    featuresCols=["x", "y"], module="mlp", moduleParams={"hidden": [64, 64]}, epochs=12, batchSize=64,
    learningRate=0.003, validationFraction=0.1, earlyStoppingPatience=4, numProcs=2, seed=7,
)
model = classifier.fit(rows)
"""
DRAWN = """\
import matplotlib
matplotlib.rcParams["svg.hashsalt"] = "sparkdl"
model.plotHistory().savefig("history.svg", metadata={"Date": None})
"""
PAGE = """\
<html><body style="margin:0;background:#fff;color:#1d2433;font:14px 'DejaVu Sans',sans-serif;display:inline-block">
<style>pre, .number { margin:0; font:13px 'DejaVu Sans Mono',monospace }</style>
<div style="padding:14px;display:grid;grid-template-columns:3.4em auto;row-gap:10px;width:900px">
<div class="number" style="color:#307fc1">[2]:</div>
<pre style="padding:8px;background:#f5f5f5;border:1px solid #ddd">%s</pre>
<div></div><div style="line-height:1.6">%s</div></div></body></html>
"""


class Recorder(NotebookClient):
    """Executes a notebook and keeps each state of its outputs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.states: list[str] = []

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.states.append(msg["content"]["data"].get("text/html", ""))
        return super().process_message(msg, cell, cell_index)


def half_way(states: list[str]) -> str:
    """Return the state whose bar is nearest to 55%."""
    shares = [(abs(float(found[1]) - 55), state) for state in states if (found := re.search(r"([\d.]+)%, ", state))]
    if not shares:
        sys.exit("the notebook has shown no bar")
    return min(shares, key=lambda pair: pair[0])[1]


def photograph(page: str, target: Path) -> None:
    """Let a browser draw a page."""
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("notebook.png needs chromium or google-chrome on the path: take --only history")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=928,200"]
        command = [browser, *options, "--force-device-scale-factor=1.5", f"--screenshot={target}", source.as_uri()]
        subprocess.run(command, check=True, timeout=120, stderr=subprocess.DEVNULL)


def main() -> None:
    """Execute the notebook and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["history", "notebook"])
    only = parser.parse_args().only
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    with tempfile.TemporaryDirectory() as folder:
        notebook = new_notebook(cells=[new_code_cell(text) for text in (ROWS, FIT, DRAWN)])
        nbformat.validate(notebook)
        recorder = Recorder(notebook, timeout=600, resources={"metadata": {"path": folder}})
        recorder.execute()
        if only in (None, "history"):
            shutil.copy(Path(folder) / "history.svg", FIGURES)
        if only in (None, "notebook"):
            photograph(PAGE % (escape(FIT.rstrip()), half_way(recorder.states)), FIGURES / "notebook.png")


if __name__ == "__main__":
    main()
