"""The figure of a history, as a notebook shows it."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sparkdl.train.figure import HistoryFigure

CURVES = {"training": [(1, 2.0), (2, 1.0), (3, 0.5)], "validation": [(1, 2.5), (2, 1.5), (3, 1.75)]}

# A fresh process: no pyplot, no %matplotlib inline.
PROGRAM = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from sparkdl.train.history import History

figure = History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]).plot()
shown, _ = InteractiveShell().display_formatter.format(figure)
assert "matplotlib.pyplot" not in sys.modules
print(shown["image/png"][:12], shown["text/plain"])
"""


def test_a_notebook_shows_it_as_an_image() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("iVBORw0KGgo") or "PNG" in done.stdout, done.stderr
    assert "HistoryFigure" in done.stdout


@pytest.mark.parametrize(("panels", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 3, 2)])
def test_many_panels_become_a_grid_of_a_cells_width(panels: int, rows: int, columns: int) -> None:
    figure = HistoryFigure({f"metric {n}": CURVES for n in range(panels)}, (2, "best"))
    assert isinstance(figure, Figure)
    places = [axes.get_subplotspec().get_gridspec() for axes in figure.axes]  # type: ignore[union-attr]
    assert len(places) == panels
    assert {(grid.nrows, grid.ncols) for grid in places} == {(rows, columns)}
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        width, height = image.size
    assert 500 <= width <= 1000
    assert 280 <= height / rows <= 400


def test_one_epoch_is_a_dot_at_a_whole_number() -> None:
    (axes,) = HistoryFigure({"loss": {"training": [(1, 2.0)]}}, (1, "best")).axes
    assert [line.get_marker() for line in axes.lines] == ["o"]
    assert list(axes.get_xticks()) == [1]


def test_epochs_are_whole_numbers() -> None:
    (axes,) = HistoryFigure({"loss": CURVES}, None).axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
