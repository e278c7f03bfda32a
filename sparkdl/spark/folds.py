"""Which part of a search a DataFrame is: CrossValidator tells its estimators nothing, the rows' plan does."""

from __future__ import annotations

import re

from pyspark.sql import DataFrame

from sparkdl.spark.session import is_connect

_DRAWN = re.compile(r"(CrossValidator|TrainValidationSplit)_[0-9a-f]+_rand")
"""The column of random numbers by which Spark ML divides the rows; it stays in what an estimator gets."""
_HELD_OUT = r"\({0}#\d+ >= ([\d.E-]+)\) AND \({0}#\d+ < ([\d.E-]+)\)"


def fold_of(frame: DataFrame) -> str | None:
    """Return "fold 2 of 3" for the training rows of a CrossValidator's fold; None for rows of no search.

    It is empty for those of a TrainValidationSplit, and where the plan does not tell the fold.
    """
    drawn = next((name for name in frame.columns if _DRAWN.fullmatch(name)), None)
    if drawn is None:
        return None
    if is_connect(frame.sparkSession) or not drawn.startswith("CrossValidator"):
        return ""
    try:
        plan = str(frame._jdf.queryExecution().analyzed().toString())
    except Exception:
        # Spark's private interface: only words depend on it.
        return ""
    bounds = re.search(_HELD_OUT.format(drawn), plan)
    if bounds is None:
        return ""
    low, high = float(bounds[1]), float(bounds[2])
    return f"fold {round(low / (high - low)) + 1} of {round(1 / (high - low))}"
