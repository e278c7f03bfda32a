"""Trust in the code of saved files: none, unless the caller says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "SPARKDL_TRUSTED"

_TRUSTED: ContextVar[bool] = ContextVar("sparkdl_trusted", default=False)


@contextmanager
def trusted() -> Iterator[None]:
    """Let everything that is loaded inside the block run pickled code and import modules by names from its files.

    For this thread only. The environment variable ``SPARKDL_TRUSTED=1`` does the same for a whole process.
    """
    token = _TRUSTED.set(True)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def is_trusted() -> bool:
    """Whether code from files may run here and now."""
    return _TRUSTED.get() or os.environ.get(VARIABLE) == "1"
