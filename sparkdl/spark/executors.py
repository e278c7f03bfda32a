"""What Spark's exceptions say about the executors' Python, in a sentence."""

from __future__ import annotations

import re

UNKNOWN = "an unknown host"


def shortcoming(error: BaseException, host: str | None = None) -> str | None:
    """Return what an executor's Python lacks, with its host and the remedy; None if Spark failed for another reason.

    Parameters
    ----------
    error : BaseException
        That an action raised.
    host : str, optional
        Where the task ran, if it is known; else it is read from the exception.
    """
    text = str(error)
    where = host or host_in(text)
    executor = f"the executor at {where}" if where != UNKNOWN else "an executor"
    if "PYTHON_VERSION_MISMATCH" in text:
        said = re.search(r"different[^:]*: ?(\S+) than that in\s+driver:? ?(\S+?),", text)
        found = f"has Python {said[1]}, the driver has {said[2]}" if said else "has another Python than the driver"
        return f"{executor} {found}: set PYSPARK_PYTHON to the same Python on all hosts"
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", text)
    # Spark looks for pyarrow itself before it imports it.
    name = missing[1] if missing else "pyarrow" if re.search(r"PyArrow >= \S+ must be installed", text) else None
    if name is None:
        return None
    return f"{executor} has no {name}: install it on all hosts (docs/executors.md)"


def host_in(text: str) -> str:
    """Return the host and the executor that the text of a Spark exception names."""
    found = re.search(r"\(TID \d+\) \((\S+) executor (\w+)\)", text)
    return f"{found[1]} (executor {found[2]})" if found else UNKNOWN
