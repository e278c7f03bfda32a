"""Starting the prefork server before the barrier job, where the driver's host is the ranks' host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

from sparkdl.cluster.prefork.client import prewarm_server
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.session import worker_python


def prewarm(spark: SparkSession, facts: SessionFacts, function: str, env: Mapping[str, str] | None = None) -> bool:
    """Let this host import torch while Spark still reads data or starts its workers; return whether it does.

    Only on a `local` master of this very process, and only where Spark's workers are this very Python: elsewhere the
    tasks start it.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
    function : str
        "module:name", as `launch` will be given it.
    env : mapping of str to str, optional
        What the ranks will have besides, as `launch` is given it.
    """
    if not facts.shares_host or not facts.warm_ranks:
        return False
    program, hash_seed = worker_python(spark)
    workers = shutil.which(program)
    if workers is None or os.path.abspath(workers) != os.path.abspath(sys.executable):
        return False
    # As Spark's workers will have it, or the task would ask for another server.
    whole = {
        **os.environ,
        "OMP_NUM_THREADS": str(facts.task_cpus),
        "PYTHONHASHSEED": hash_seed,
        **(env or {}),
    }
    return prewarm_server(whole, [os.path.abspath(entry) for entry in sys.path], function.partition(":")[0])
