"""What Spark's exceptions say about the executors, in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sparkdl import errors

UNKNOWN = "an unknown host"

_DISK_FULL = ("No space left on device", "Disk quota exceeded")
"""As the system says it, to Java and to Python."""


def in_a_sentence(error: BaseException) -> errors.SparkDLError | None:
    """Return what a task has raised, where that was one of our errors, or what an executor lacks; None for all else."""
    lacking = shortcoming(error)
    if lacking is not None:
        return errors.ClusterError(lacking)
    ours = re.findall(r"^sparkdl\.errors\.(\w+): (.+)$", str(error), re.MULTILINE)
    return named(*ours[-1]) if ours else None


@contextmanager
def computing_rows() -> Iterator[None]:
    """Turn what Spark raises inside the block, for rows of the user's that it cannot compute, into one sentence.

    The trace stays with it as its cause; what is no failure of a task, as an interrupt, passes as it is.

    Raises
    ------
    SparkDLError
        What a task of ours has raised, or what an executor lacks.
    DataError
        The rows cannot be computed.
    """
    try:
        yield
    except errors.SparkDLError:
        raise
    except Exception as error:
        told = in_a_sentence(error)
        if told is not None:
            raise told from None
        said = _reason(str(error))
        if said is None:
            raise
        raise errors.DataError(
            f"Spark cannot compute the rows of the DataFrame: {said}; look for the cause by dataset.collect()"
        ) from error


def _reason(text: str) -> str | None:
    """Return what Spark's exception says of a task's failure or of the query, without traces; None for all else."""
    if "cancel" in text.lower():
        return None
    lines = [line.strip() for line in text.splitlines()]
    if "Traceback (most recent call last):" in lines:
        last = [line for line in text.splitlines() if re.match(r"[\w.]+(Error|Exception|Warning|Exit)\b", line)]
        return last[-1] if last else None
    found = re.search(r"\[[A-Z_]+(\.[A-Z_]+)*\] [^\n]*", text)
    return re.sub(r"\.? *SQLSTATE: \w+", "", found[0]) if found else None


def named(kind: str, sentence: str) -> errors.SparkDLError:
    """Return an error of ours by the name of its class."""
    made: errors.SparkDLError = getattr(errors, kind, errors.ClusterError)(sentence)
    return made


def shortcoming(error: BaseException, host: str | None = None) -> str | None:
    """Return what an executor lacks, with its host and the remedy; None if Spark failed for another reason.

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
        return _full_disk(text, executor)
    top, _, inner = name.partition(".")
    if top == "sparkdl":
        lacked = f"has another project's or version's sparkdl (no {name})" if inner else "has no sparkdl-torch"
        return f"{executor} {lacked}: install the driver's sparkdl-torch on all hosts (docs/executors.md)"
    return f"{executor} has no {name}: install it on all hosts (docs/executors.md)"


def _full_disk(text: str, executor: str) -> str | None:
    said = next((words for words in _DISK_FULL if words in text), None)
    if said is None:
        return None
    # Python's errors of files name them.
    path = re.search(re.escape(said) + r"[^'\n]{0,9}'([^'\n]+)'", text)
    what = f"cannot write {path[1]}" if path else "has a full disk"
    return (
        f"{executor} {what} ({said}): free space there, or let spark.local.dir (SPARK_LOCAL_DIRS) and, for rows that "
        "are kept, cacheUrl name a larger disk"
    )


def host_in(text: str) -> str:
    """Return the host and the executor that the text of a Spark exception names."""
    found = re.search(r"\(TID \d+\) \((\S+) executor (\w+)\)", text)
    return f"{found[1]} (executor {found[2]})" if found else UNKNOWN
