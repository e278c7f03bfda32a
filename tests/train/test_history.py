"""The history as a list, a DataFrame and a picture."""

from __future__ import annotations

import json
import sys

import pytest

from sparkdl.errors import SparkDLError
from sparkdl.train.history import History

ROWS = [
    {"epoch": 1, "loss": 2.0, "f1": 0.5, "val_loss": 2.5, "val_f1": 0.4, "lr": 0.1, "rows": 10, "seconds": 1.0},
    {"epoch": 2, "loss": 1.0, "f1": 0.7, "val_loss": 1.5, "val_f1": 0.6, "lr": 0.1, "rows": 10, "seconds": 1.0},
]


def test_is_a_list_that_json_takes():
    assert json.loads(json.dumps(History(ROWS))) == ROWS
    frame = History(ROWS).toPandas()
    assert frame["val_loss"].tolist() == [2.5, 1.5]
    assert list(frame.columns) == list(ROWS[0])


def test_plot(tmp_path):
    path = tmp_path / "curves.png"
    figure = History(ROWS).plot(path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "f1"]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines == {"training": [2.0, 1.0], "validation": [2.5, 1.5]}


def test_plot_without_matplotlib_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SparkDLError, match="not installed in this Python: run pip install matplotlib"):
        History(ROWS).plot()


def test_plot_into_axes_of_the_caller():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    assert History(ROWS).plot(ax=axes) is figure
    assert [len(a.lines) for a in figure.axes] == [2]


@pytest.mark.filterwarnings("error")
def test_an_empty_history_has_an_empty_picture():
    assert [len(axes.lines) for axes in History().plot().axes] == [0]
