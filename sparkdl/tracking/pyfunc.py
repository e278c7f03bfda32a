"""The flavor "python_function" of our models: predicts on pandas with torch alone, no Spark session.

MLflow finds `_load_pyfunc` by this module's name, which stands in the MLmodel file of every logged model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkdl.tracking.directory import load_pipeline

if TYPE_CHECKING:
    import pandas as pd

    from sparkdl.scoring.local import LocalScorer


class Predictor:
    """What `mlflow.pyfunc.load_model` wraps.

    Parameters
    ----------
    scorer : LocalScorer
        A model on this process's device.
    """

    def __init__(self, scorer: LocalScorer) -> None:
        self._scorer = scorer

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the columns that the model adds; vectors and arrays as lists, which JSON knows.

        Parameters
        ----------
        rows : pandas.DataFrame
            The model's input columns; vectors as lists or arrays.
        params : dict, optional
            MLflow's inference parameters; our models have none.
        """
        return plain_values(self._scorer.predict(rows))


def plain_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with Spark's vectors, nested rows and numpy's arrays as lists and dicts."""
    return rows.apply(lambda column: column.map(_plain) if column.dtype == object else column)


def _plain(value: Any) -> Any:
    if hasattr(value, "toArray"):
        value = value.toArray()
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "asDict"):
        return value.asDict(recursive=True)
    return value


def _load_pyfunc(path: str) -> Predictor:
    return Predictor(load_pipeline(Path(path)))
