"""Spark's own progress on the console, which is drawn over whatever else a terminal or a cell shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from sparkdl.spark.session import is_connect

_MILLISECONDS = 200
"""Spark's bar keeps away for half a second after a job of its own has ended."""


@contextlib.contextmanager
def without_stages(spark: SparkSession) -> Iterator[None]:
    """Keep Spark's ``[Stage 5:=>`` lines away while the context is open; half a second later they are back.

    No setting is changed: Spark's bar is told again and again what Spark tells it after each job, that it is over.
    """
    timer = _timer(spark)
    try:
        yield
    finally:
        # The JVM may be gone.
        with contextlib.suppress(Exception):
            if timer is not None:
                timer.shutdownNow()


def _timer(spark: SparkSession) -> Any:
    """Return what keeps Spark's bar away; None where there is no bar, as over Connect.

    It runs in the JVM, because a thread here waits for Python's lock while large modules are imported.
    """
    if is_connect(spark):
        return None
    try:
        jvm: Any = spark.sparkContext._jvm
        bar: Any = spark.sparkContext._jsc.sc().progressBar()
        if not bar.isDefined():
            return None
        invoke, threads = jvm.java.lang.invoke, jvm.org.apache.spark.util.ThreadUtils
        nothing = invoke.MethodType.methodType(jvm.java.lang.Void.TYPE)
        finish = invoke.MethodHandles.publicLookup().bind(bar.get(), "finishAll", nothing)
        runnable = jvm.java.lang.Class.forName("java.lang.Runnable")
        task = invoke.MethodHandleProxies.asInterfaceInstance(runnable, finish)
        timer = threads.newDaemonSingleThreadScheduledExecutor("sparkdl-console")
        timer.scheduleAtFixedRate(task, 0, _MILLISECONDS, jvm.java.util.concurrent.TimeUnit.MILLISECONDS)
    except Exception:
        # Spark's private interface, and clusters that let nobody near the JVM: a fit is worth having without it.
        return None
    return timer
