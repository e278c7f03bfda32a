"""From the text of an exception, of Spark's too, to the one line that says why."""

from __future__ import annotations

import re

from sparkdl.errors import SparkDLError, without_credentials

_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit|Interrupt)\b(?::|$)")
_LONGEST = 500


def cause_of(error: BaseException | str) -> str:
    """Return the line of an exception's text that says why, without credentials; its kind where it says nothing.

    That is what a Python worker raised, which stands last in its traceback. Else it is the first line that says
    something: py4j puts one of its own before it, and a colon and Java's class, which of Spark's own says nothing. An
    error of ours says it in its first line.
    """
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    raised = [] if isinstance(error, SparkDLError) else [line for line in lines if _RAISED.match(line)]
    if raised and any(_TRACEBACK in line for line in lines):
        return _short(raised[-1])
    told = [line.strip().removeprefix(": ") for line in lines]
    informative = [line for line in told if not line.startswith("An error occurred while calling")]
    first = next(iter(informative or told), type(error).__name__)
    return _short(re.sub(r"^org\.apache\.spark\.[\w.]+: ", "", first))


def _short(line: str) -> str:
    return without_credentials(line)[:_LONGEST]
