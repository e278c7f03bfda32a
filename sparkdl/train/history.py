"""What a fit has measured, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparkdl.errors import SparkDLError
from sparkdl.report.html import table

if TYPE_CHECKING:
    import os

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOOKKEEPING = ("epoch", "lr", "rows", "seconds", "rows_per_second", "wait_share")
_VALIDATION = "val_"
_SHOWN = 30
"""Rows of the HTML table; of longer histories the first and the last."""


class History(list[dict[str, float]]):
    """One dict for each epoch: epoch, loss, each metric, val_loss, val_<metric>, lr, rows, seconds, rows_per_second,
    wait_share. It is a list, so JSON takes it as it is.

    Parameters
    ----------
    rows : iterable of dict
    best_epoch : int, optional
        The epoch whose weights early stopping has kept.

    Attributes
    ----------
    best_epoch : int or None
        The epoch whose weights the model has, from 1; None without early stopping, where they are those of the last.
    """

    def __init__(self, rows: Iterable[dict[str, float]] = (), best_epoch: int | None = None) -> None:
        super().__init__(rows)
        self.best_epoch = best_epoch

    def toPandas(self) -> pd.DataFrame:
        """Return a pandas DataFrame, a row for each epoch."""
        import pandas as pd

        return pd.DataFrame(list(self))

    def plot(self, ax: Axes | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the loss in one panel and each metric in one of its own, training and validation together.

        A dashed line marks the epoch whose weights early stopping has kept, without it that of the lowest val_loss.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Draw only the losses, into these.
        path : str or PathLike, optional
            Also write the figure to this file; its ending says the format.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by a notebook as an image. Not registered with pyplot: it opens no window and needs no closing.

        Raises
        ------
        SparkDLError
            If matplotlib is not installed.
        """
        try:
            import_module("matplotlib.figure")
        except ImportError as error:
            raise SparkDLError(
                "the history is drawn by matplotlib, which is not installed in this Python: run pip install matplotlib"
            ) from error
        from sparkdl.train.figure import HistoryFigure, draw

        if ax is not None:
            draw(ax, "loss", self._curves("loss"), self._best())
            figure: Any = ax.figure
        else:
            measures = ["loss", *self._metrics()]
            figure = HistoryFigure({name: self._curves(name) for name in measures}, self._best())
        if path is not None:
            figure.savefig(path)
        drawn: Figure = figure
        return drawn

    def _repr_html_(self) -> str:
        """Return the history as a table, the epoch whose weights were kept in bold."""
        names = list(dict.fromkeys(name for row in self for name in row))
        numbers = list(range(len(self)))
        if len(self) > _SHOWN:
            numbers = numbers[: _SHOWN // 2] + numbers[-_SHOWN // 2 :]
        rows = [[_figure(name, self[number].get(name)) for name in names] for number in numbers]
        bold = [i for i, number in enumerate(numbers) if self[number].get("epoch") == self.best_epoch]
        if len(self) > _SHOWN:
            rows.insert(_SHOWN // 2, ["..."] * len(names))
            bold = [i + (i >= _SHOWN // 2) for i in bold]
        return table("", rows, names, bold)

    def _metrics(self) -> list[str]:
        names = dict.fromkeys(
            name.removeprefix(_VALIDATION) for row in self for name in row if name not in _BOOKKEEPING
        )
        return [name for name in names if name != "loss"]

    def _curves(self, measure: str) -> dict[str, list[tuple[float, float]]]:
        """Return the points of training and validation by their names."""
        curves = {
            label: [(row["epoch"], row[name]) for row in self if name in row]
            for label, name in (("training", measure), ("validation", _VALIDATION + measure))
        }
        return {label: points for label, points in curves.items() if points}

    def _best(self) -> tuple[int, str] | None:
        """Return the epoch to mark and why it is the best."""
        if self.best_epoch is not None:
            return self.best_epoch, f"weights kept: epoch {self.best_epoch}"
        losses = {int(row["epoch"]): row["val_loss"] for row in self if math.isfinite(row.get("val_loss", math.nan))}
        if not losses:
            return None
        epoch = min(losses, key=losses.__getitem__)
        return epoch, f"lowest val_loss: epoch {epoch}"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if name in ("epoch", "rows", "rows_per_second") else f"{value:.4g}"
