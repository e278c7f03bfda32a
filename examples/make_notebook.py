"""Make digits.ipynb from digits.py: each `# %%` begins a cell, each `# %% [markdown]` one of text.

Usage: python examples/make_notebook.py
"""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent


def notebook(program: str) -> str:
    """Return the notebook of a program, without outputs, as text."""
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
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    (HERE / "digits.ipynb").write_text(notebook((HERE / "digits.py").read_text()))
