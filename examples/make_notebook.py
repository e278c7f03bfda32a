"""Make digits.ipynb from digits.py, and run it: each `# %%` begins a cell, each `# %% [markdown]` one of text.

Usage: python examples/make_notebook.py

What the cells have shown is kept with them, except for standard error, which is Spark's and MLflow's log.
"""

import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent


def notebook(program: str) -> NotebookNode:
    """Return the notebook of a program, without outputs."""
    cells = []
    for kind, text in re.findall(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", program, re.DOTALL | re.MULTILINE):
        if kind:
            source = re.sub(r"^# ?", "", text.strip(), flags=re.MULTILINE)
            cells.append(new_markdown_cell(source, id=f"cell-{len(cells)}"))
        else:
            cells.append(new_code_cell(text.strip(), id=f"cell-{len(cells)}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    nbformat.validate(made)
    return made


def execute(made: NotebookNode, folder: Path) -> None:
    """Run the cells in a folder that is empty but for the other half of the program; keep what they show."""
    shutil.copy(HERE / "digits_score.py", folder)
    metadata = dict(made.metadata)
    NotebookClient(made, timeout=1800, record_timing=False, resources={"metadata": {"path": str(folder)}}).execute()
    made.metadata = metadata  # without the version of the Python that ran it
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def check_private(made: NotebookNode, folder: Path) -> None:
    """Raise ValueError if the outputs tell on which machine they were made."""
    shown = nbformat.writes(made)
    for secret in (str(folder), str(HERE.parent), str(Path.home()), tempfile.gettempdir(), socket.gethostname()):
        # A short name of a host may be a part of any word, and of an image's text.
        if re.search(rf"(?<![\w/+]){re.escape(secret)}(?![\w/+])", shown):
            raise ValueError(f"an output holds {secret!r}: let digits.py print something else")


def main() -> None:
    os.environ.pop("DEMO_RESULTS", None)
    made = notebook((HERE / "digits.py").read_text())
    with tempfile.TemporaryDirectory() as folder:
        execute(made, Path(folder))
        check_private(made, Path(folder))
    nbformat.validate(made)
    (HERE / "digits.ipynb").write_text(nbformat.writes(made) + "\n")


if __name__ == "__main__":
    main()
