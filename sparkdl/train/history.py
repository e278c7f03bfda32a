"""What a fit has measured, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparkdl.errors import SparkDLError

if TYPE_CHECKING:
    import os

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOOKKEEPING = ("epoch", "lr", "rows", "seconds", "rows_per_second", "wait_share")
_VALIDATION = "val_"


class History(list[dict[str, float]]):
    """One dict for each epoch: epoch, loss, each metric, val_loss, val_<metric>, lr, rows, seconds, rows_per_second,
    wait_share. It is a list, so JSON takes it as it is.
    """

    def toPandas(self) -> pd.DataFrame:
        """Return a pandas DataFrame, a row for each epoch."""
        import pandas as pd

        return pd.DataFrame(list(self))

    def plot(self, ax: Axes | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the loss in one panel and each metric in one of its own, training and validation together.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Draw only the losses, into these.
        path : str or PathLike, optional
            Also write the figure to this file; its ending says the format.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot: it opens no window and needs no closing.

        Raises
        ------
        SparkDLError
            If matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise SparkDLError(
                "the history is drawn by matplotlib, which is not installed in this Python: run pip install matplotlib"
            ) from error
        if ax is not None:
            self._draw(ax, "loss")
            figure: Any = ax.figure
        else:
            measures = ["loss", *self._metrics()]
            figure = Figure(figsize=(4.8 * len(measures), 3.6), layout="constrained")
            for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
                self._draw(axes, measure)
        if path is not None:
            figure.savefig(path)
        drawn: Figure = figure
        return drawn

    def _metrics(self) -> list[str]:
        names = dict.fromkeys(
            name.removeprefix(_VALIDATION) for row in self for name in row if name not in _BOOKKEEPING
        )
        return [name for name in names if name != "loss"]

    def _draw(self, axes: Any, measure: str) -> None:
        for name, label in ((measure, "training"), (_VALIDATION + measure, "validation")):
            points = [(row["epoch"], row[name]) for row in self if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 20 else None, label=label)
        axes.set_xlabel("epoch")
        axes.set_title(measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:
            axes.legend()
