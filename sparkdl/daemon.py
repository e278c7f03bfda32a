"""What Spark forks its Python workers from, with torch imported already: for ``spark.python.daemon.module``.

    spark-submit --conf spark.python.daemon.module=sparkdl.daemon ...

Every worker of Spark's imports torch for itself when it scores its first row, all workers of an executor at the same
time. With this setting the process that they are forked from has done it once, and they share the memory. sparkdl has
to be installed in the executors' Python: what ``--py-files`` brings is not there yet when the process begins.
"""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Import torch, then be Spark's own daemon."""
    # Spark reads a port from the standard output: what an import prints there would be taken for it.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        # Only what starts no thread, which a fork would lose; pandas and pyarrow do.
        import torch  # noqa: F401
    except ImportError as error:
        print(f"sparkdl.daemon: workers import torch themselves: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        os.dup2(output, sys.stdout.fileno())
        os.close(output)
    # Objects that the collector does not touch stay in memory that all workers share.
    gc.freeze()
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
