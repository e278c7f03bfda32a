"""The errors that users meet: one base class and a few kinds, told apart by what the user has to change."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_MOST_COLUMNS = 4
"""Columns that a sentence names; the others are counted."""

HIDDEN = "***"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\S*)")
_WHOLE_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PORT = re.compile(r"(?:[^:]*|\[[^\]]*\]):\d*")
_CONTAINERS = frozenset({"abfs", "abfss", "az", "wasb", "wasbs"})
"""Schemes with the name of a container where others have that of a user."""
_WITHOUT_PORT = _CONTAINERS | {"s3", "s3a", "s3n", "gs", "gcs", "oss", "oci"}


class SparkDLError(Exception):
    """Base of every error that sparkdl raises on purpose. Its words hold no credentials of URLs."""

    def __init__(self, *words: object) -> None:
        super().__init__(*(without_credentials(each) if isinstance(each, str) else each for each in words))


class SettingError(SparkDLError, ValueError):
    """A Param or an argument has a value that cannot work, alone or beside another one."""


class SettingTypeError(SettingError, TypeError):
    """A Param or an argument has a value of a type that it never takes; a TypeError, as for Spark ML's own Params."""


class DataError(SparkDLError, ValueError):
    """A column or its rows cannot be used: missing, of a wrong type, null, NaN, ragged, too few, lost."""


class ColumnError(DataError):
    """What is wrong with a column, before the Param that chose it is named: `params.roles.names_params` does that.

    Parameters
    ----------
    columns : sequence of str
        One, or several of which one is to blame.
    said : str
        What follows the name: "has 1 row with a null: remove them".
    role : str
        The part that the column plays, as in `schema`.
    """

    def __init__(self, columns: Sequence[str], said: str, role: str) -> None:
        super().__init__(f"{subject(columns)} {said}")
        self.columns = tuple(columns)
        self.said = said
        self.role = role


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


_PLAIN = (str, bytes, int, float, list, tuple, dict, set)
"""Types of which reprlib shows a part, in one line."""


def invalid(name: str, value: object, expected: str) -> str:
    """Return the sentence about a value that a Param or an argument does not take; a long value is shortened."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 120
    # Optimizers, networks and tables are shown in many lines; some tables need a job to show any.
    bulky = hasattr(value, "columns") or (not isinstance(value, _PLAIN) and _has_lines(value))
    text = f"<{type(value).__name__}>" if bulky else shown.repr(value)
    return f"invalid {name}={without_credentials(text)}: expected {expected}"


def _has_lines(value: object) -> bool:
    try:
        return "\n" in repr(value)
    except Exception:
        # One of the user's own that fails.
        return True


def without_credentials(text: str, *, one_url: bool = False) -> str:
    """Return a text with users, passwords and queries of its URLs hidden, however they are written.

    A password may hold what should have been escaped: ``/``, ``@``, ``?`` and ``#``; then more than the password is
    hidden where the two cannot be told apart.

    Parameters
    ----------
    text : str
    one_url : bool
        Whether it may be one URL as a whole, with spaces in it, and no sentence.
    """
    if "://" not in text:
        # Of a long word without one the pattern would try every part.
        return text
    return (_WHOLE_URL if one_url and _WHOLE_URL.fullmatch(text) else _URL).sub(_hidden, text)


def _hidden(url: re.Match[str]) -> str:
    scheme, rest = url[1].lower(), url[2]
    host = rest.partition("/")[0]
    user, at, _ = host.rpartition("@")
    if ":" in (user if at else host) and (at or scheme in _WITHOUT_PORT or not _PORT.fullmatch(host)):
        # A password: it ends at the last of these.
        end = rest.rfind("@") + 1
    else:
        end = 0 if scheme in _CONTAINERS else len(user) + len(at)
    rest, asked, query = rest[end:].partition("?")
    # What stands behind a URL in a sentence.
    closing = query[len(query.rstrip("'\")>]},:;.")) :]
    return (
        f"{url[1]}://{HIDDEN + '@' if end else ''}{without_credentials(rest)}{f'?{HIDDEN}{closing}' if asked else ''}"
    )


def subject(columns: Sequence[str]) -> str:
    """Return "column 'a'", or "one of the columns 'a', 'b' and 3 more"."""
    named = listed(columns, _MOST_COLUMNS)
    return f"column {named}" if len(columns) == 1 else f"one of the columns {named}"


def listed(names: Sequence[str], most: int) -> str:
    """Return "'a', 'b' and 3 more", of so many names at most."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def path_text(name: str, value: object) -> str:
    """Return a path or a URL as text; a ``pathlib.Path`` is one as well.

    Raises
    ------
    SettingTypeError
        It is none.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise SettingTypeError(invalid(name, value, "a path or a URL as text, or a Path"))
    return text


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
