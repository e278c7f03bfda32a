"""Names that files give, which the JVM's programs allow by a setting of Spark's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparkdl.errors import PersistenceError

_UNKNOWN = "is not known here"


@contextmanager
def names_of_files() -> Iterator[None]:
    """Say how a program in the JVM allows a class that a file names: the remedies of Python's are none there."""
    try:
        yield
    except PersistenceError as error:
        said, unknown, _ = str(error).partition(_UNKNOWN)
        if not unknown:
            raise
        raise PersistenceError(
            f"{said}{_UNKNOWN}, and what a file names is not imported: name its module in the Spark setting "
            "spark.sparkdl.imports"
        ) from error
