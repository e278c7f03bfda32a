"""A small table as HTML, for what a notebook shows of an object; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_CELL = ' style="text-align:left"'


def table(caption: str, rows: Iterable[Sequence[str]], head: Sequence[str] = (), bold: Iterable[int] = ()) -> str:
    """Return a table.

    Parameters
    ----------
    caption : str
        Stands above it; empty for none.
    rows : iterable of sequence of str
    head : sequence of str
        Names of the columns, if they have any.
    bold : iterable of int
        Numbers of the rows, from 0, that stand out.
    """
    strong = set(bold)
    lines = [_row(head, "th")] if head else []
    lines += [_row(row, "th" if number in strong else "td") for number, row in enumerate(rows)]
    above = f"<div><b>{escape(caption)}</b></div>" if caption else ""
    return f"<div>{above}<table>{''.join(lines)}</table></div>"


def _row(texts: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}{_CELL}>{escape(text)}</{tag}>" for text in texts) + "</tr>"
