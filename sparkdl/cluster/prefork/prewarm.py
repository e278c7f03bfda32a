"""Starting the prefork server before the barrier job, where the driver's host is the ranks' host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

from sparkdl.cluster.prefork.client import prewarm_server
from sparkdl.spark import session as spark_session

_CONF = "spark.sparkdl.warmRanks"


def prefork_allowed(spark: SparkSession) -> bool:
    """Return whether ranks may be forked from a prefork server, by the Spark conf `spark.sparkdl.warmRanks`."""
    return spark_session.conf_bool(spark, _CONF, True)


def prewarm(spark: SparkSession, function: str, env: Mapping[str, str] | None = None) -> bool:
    """Let this host import torch while Spark still reads data or starts its workers; return whether it does.

    Only on a `local` master of this very process, and only where Spark's workers are this very Python: elsewhere the
    tasks start it.

    Parameters
    ----------
    spark : SparkSession
    function : str
        "module:name", as `launch` will be given it.
    env : mapping of str to str, optional
        What the ranks will have besides, as `launch` is given it.
    """
    if not spark_session.shares_host(spark) or not prefork_allowed(spark):
        return False
    program, hash_seed = spark_session.worker_python(spark)
    workers = shutil.which(program)
    if workers is None or os.path.abspath(workers) != os.path.abspath(sys.executable):
        return False
    # As Spark's workers will have it, or the task would ask for another server.
    whole = {
        **os.environ,
        "OMP_NUM_THREADS": str(spark_session.conf_int(spark, "spark.task.cpus", 1)),
        "PYTHONHASHSEED": hash_seed,
        **(env or {}),
    }
    return prewarm_server(whole, [os.path.abspath(entry) for entry in sys.path], function.partition(":")[0])
