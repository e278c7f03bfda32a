"""Where the jar of the Scala bridge lies: it is built for one minor version of Spark and comes with the package."""

from __future__ import annotations

import re
from pathlib import Path

from pyspark.version import __version__ as spark

from sparkdl.errors import ClusterError
from sparkdl.version import __version__

_FOLDER = Path(__file__).resolve().parent / "jars"
_NAME = re.compile(rf"sparkdl-spark-(\d+\.\d+)_2\.13-{re.escape(__version__)}\.jar")


def jar_path() -> str:
    """Return the path of the jar that gives Scala, Java and Spark Connect servers the stages of sparkdl.

    It goes into ``spark.jars`` or behind ``--jars``; the command ``sparkdl-submit`` does that by itself.

    Returns
    -------
    str
        The path of ``sparkdl-spark-4.2_2.13-0.1.0.jar``, or of another one: that of the minor version of the installed
        pyspark.

    Raises
    ------
    ClusterError
        If this installation has no jar, or none for that version of Spark.
    """
    minor = ".".join(spark.split(".")[:2])
    jars = {found[1]: path for path in sorted(_FOLDER.glob("*.jar")) if (found := _NAME.fullmatch(path.name))}
    if minor in jars:
        return str(jars[minor])
    if not jars:
        raise ClusterError(
            "no jar of the Scala bridge in this installation of sparkdl: run `make jar` in a checkout, and install that"
        )
    raise ClusterError(
        f"no jar of the Scala bridge for Spark {minor}, but for {' and '.join(jars)}: "
        f"install one of these in place of pyspark {spark}"
    )
