"""Spark's own progress on the console, which is drawn over whatever else a terminal or a cell shows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from sparkdl.spark.session import in_this_session, is_connect

_SECONDS = 0.2
"""Spark's bar keeps away for half a second after a job of its own has ended."""


@contextlib.contextmanager
def without_stages(spark: SparkSession) -> Iterator[None]:
    """Keep Spark's ``[Stage 5:=>`` lines away while the context is open; half a second later they are back.

    No setting is changed: Spark's bar is told again and again what Spark tells it after each job, that it is over.
    """
    bar = _console_bar(spark)
    if bar is None:
        yield
        return
    over = threading.Event()

    def keep_away() -> None:
        # The context may be stopped meanwhile; then there is no bar either.
        with contextlib.suppress(Exception):
            while not over.is_set():
                bar.finishAll()
                over.wait(_SECONDS)

    thread = threading.Thread(target=in_this_session(spark, keep_away), name="sparkdl-console", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _console_bar(spark: SparkSession) -> Any:
    """Return Spark's bar; None where there is none, over Connect and with `spark.ui.showConsoleProgress` false."""
    if is_connect(spark):
        return None
    try:
        found: Any = spark.sparkContext._jsc.sc().progressBar()
        return found.get() if found.isDefined() else None
    except Exception:
        # Spark's private interface: a fit is worth having without it.
        return None
