"""The errors that users meet: one base class and a few kinds, told apart by what the user has to change."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches


class SparkDLError(Exception):
    """Base of every error that sparkdl raises on purpose."""


class SettingError(SparkDLError, ValueError):
    """A Param or an argument has a value that cannot work, alone or beside another one."""


class SettingTypeError(SettingError, TypeError):
    """A Param or an argument has a value of a type that it never takes; a TypeError, as for Spark ML's own Params."""


class DataError(SparkDLError, ValueError):
    """A column or its rows cannot be used: missing, of a wrong type, null, NaN, ragged, too few, lost."""


class NetworkError(SparkDLError, ValueError):
    """The network does not fit the data: its input, its output or its loss."""


class ClusterError(SparkDLError, RuntimeError):
    """The cluster cannot run the job: too few slots, dynamic allocation, another Python on an executor."""


class StartTimeoutError(ClusterError, TimeoutError):
    """The ranks did not meet within `startTimeout`."""


class RankError(SparkDLError, RuntimeError):
    """The user's code raised on a rank.

    Attributes
    ----------
    rank : int
        The rank that failed first.
    host : str
        Where it ran.
    traceback_text : str
        Its traceback as Python printed it.
    log_tail : str
        The last lines that this rank wrote.
    """

    def __init__(
        self, message: str, *, rank: int = -1, host: str = "", traceback_text: str = "", log_tail: str = ""
    ) -> None:
        super().__init__(message)
        self.rank = rank
        self.host = host
        self.traceback_text = traceback_text
        self.log_tail = log_tail


class RankLostError(RankError):
    """A rank ended without a Python exception: killed, out of memory, `os._exit`, a lost executor."""


class PersistenceError(SparkDLError, RuntimeError):
    """A stage or a model cannot be saved or loaded."""


def invalid(name: str, value: object, expected: str) -> str:
    """Return the sentence about a value that a Param or an argument does not take; a long value is shortened."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 120
    return f"invalid {name}={shown.repr(value)}: expected {expected}"


def one_of(choices: Iterable[str]) -> str:
    """Return "'a', 'b' or 'c'"."""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return the end of a sentence about a name that is not known: the closest of those that are, else all of them.

    Parameters
    ----------
    name : str
        As the user wrote it; case makes no difference.
    known : iterable of str
        What it could have been.
    otherwise : str, optional
        Where none of them is close, instead of their list.
    """
    names = list(known)
    close = get_close_matches(name.lower(), [each.lower() for each in names], n=1)
    if close:
        meant = next(each for each in names if each.lower() == close[0])
        return f"did you mean {meant!r}?"
    return "take one of " + ", ".join(names) if otherwise is None else otherwise
