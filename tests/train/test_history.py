"""The history as a list, a DataFrame and an image."""

from __future__ import annotations

import json
import re
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
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("epoch", "loss"), ("epoch", "f1")]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines[:2]}
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
    assert [len(a.lines) for a in figure.axes] == [3]


def marked(history):
    """Return the words and the epoch of the line across each panel."""
    return {(a.lines[-1].get_label(), a.lines[-1].get_xdata()[0]) for a in history.plot().axes}


def test_the_epoch_whose_weights_were_kept_is_marked():
    assert marked(History(ROWS, best_epoch=1)) == {("weights kept: epoch 1", 1)}


def test_without_early_stopping_the_lowest_validation_loss_is_marked():
    rows = [*ROWS, {"epoch": 3, "loss": 0.5, "val_loss": float("nan")}, {"epoch": 4, "loss": 0.1, "val_loss": 1.75}]
    assert marked(History(rows)) == {("lowest val_loss: epoch 2", 2)}


def test_one_epoch_and_training_alone_have_no_mark():
    assert marked(History(ROWS[:1], best_epoch=1)) == {("validation", 1)}
    assert marked(History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])) == {("training", 1)}


def test_a_table_for_notebooks():
    shown = History([{**row, "<f>": 0.123456} for row in ROWS], best_epoch=2)._repr_html_()
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in shown.split("</tr>")[:-1]]
    assert rows[0] == ["epoch", "loss", "f1", "val_loss", "val_f1", "lr", "rows", "seconds", "&lt;f&gt;"]
    assert rows[2] == ["2", "1", "0.7", "1.5", "0.6", "0.1", "10", "1", "0.1235"]
    assert shown.count("<th") == 2 * len(rows[0]), "the head and the epoch whose weights were kept"


def test_a_long_history_shows_its_begin_and_end():
    shown = History([{"epoch": n, "loss": 1 / n} for n in range(1, 1001)], best_epoch=990)._repr_html_()
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in shown.split("</tr>")[:-1]]
    assert [row[0] for row in rows] == [
        "epoch",
        *map(str, range(1, 16)),
        "...",
        *(f"{n:,}" for n in range(986, 1001)),
    ]
    assert ">990</th>" in shown
    assert History()._repr_html_()


@pytest.mark.filterwarnings("error")
def test_an_empty_history_has_an_empty_image():
    assert [len(axes.lines) for axes in History().plot().axes] == [0]
