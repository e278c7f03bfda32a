"""`log_to_driver`, under the name that users of Databricks' HorovodRunner know."""

from __future__ import annotations

from sparkdl.cluster.rank import context as rank_state
from sparkdl.events import UserMessage, to_record
from sparkdl.report.logs import print_line

__all__ = ["log_to_driver"]


def log_to_driver(message: str) -> None:
    """Show a message on the driver while the ranks run, whatever the verbosity.

    Parameters
    ----------
    message : str
        Of any length and number of lines (Databricks' own cuts at 4000 characters). Outside a rank it is printed here.
    """
    context = rank_state.current()
    if context is None:
        print_line(str(message))
    else:
        context.emit(to_record(UserMessage(context.rank, str(message))))
