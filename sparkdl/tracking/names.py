"""The names of metrics in a tracking store, which takes fewer than Python does."""

from __future__ import annotations

import posixpath
import re

_REFUSED = re.compile(r"[^/\w.\- ]+")
_MOST = 250


class MetricNames:
    """Gives each name of a metric one that MLflow takes, the same one each time and no two the same."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the name in the store: "<lambda>" is "lambda", a second one of that name "lambda_2"."""
        if name not in self._given:
            base, number = _accepted(name), 1
            found = base
            while found in self._given.values():
                number += 1
                found = f"{base}_{number}"
            self._given[name] = found
        return self._given[name]


def _accepted(name: str) -> str:
    accepted = _REFUSED.sub("_", re.sub(r"[<>]", "", name))[:_MOST].strip()
    # It is the path of a file, too.
    if accepted != posixpath.normpath(accepted) or accepted.startswith(("/", "..")) or accepted == ".":
        accepted = re.sub(r"[/.]+", "_", accepted)
    return accepted or "metric"
