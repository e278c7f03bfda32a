"""The history as an image."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Points (epoch, value) by what they were measured on: "training", "validation"."""

_COLOURS = {"training": "C0", "validation": "C1"}
_WIDE, _HIGH = 4.6, 3.2
"""Inches of a panel; two beside each other fill a cell of a notebook."""
_MARKED = 20
"""Epochs up to which each has a dot."""


class HistoryFigure(Figure):
    """A matplotlib Figure that a notebook shows as an image, without pyplot and its backends.

    Parameters
    ----------
    panels : mapping of str to Curves
        By what they show, in order.
    best : (int, str) or None
        The epoch to mark, and the words for it.
    """

    def __init__(self, panels: Mapping[str, Curves], best: tuple[int, str] | None) -> None:
        count = len(panels)
        across = 1 if count == 1 else 2
        down = math.ceil(count / across)
        # One panel alone may be wider.
        width = 6.0 if across == 1 else across * _WIDE
        super().__init__(figsize=(width, down * _HIGH), layout="constrained")
        for index, (measure, curves) in enumerate(panels.items(), 1):
            draw(self.add_subplot(down, across, index), measure, curves, best)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(axes: Axes, measure: str, curves: Curves, best: tuple[int, str] | None) -> None:
    """Draw what was measured into one panel."""
    epochs = sorted({epoch for points in curves.values() for epoch, _ in points})
    for label, points in curves.items():
        marker = "o" if len(points) <= _MARKED else None
        axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, color=_COLOURS[label], label=label)
    if best is not None and len(epochs) > 1:
        axes.axvline(best[0], color="0.5", linestyle="--", linewidth=1, label=best[1])
    axes.set_xlabel("epoch")
    axes.set_ylabel(measure)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(epochs) == 1:
        axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
