"""A model of MLflow's as a folder of this machine, and which stage is in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparkdl.errors import PersistenceError, without_credentials

SCHEMES = ("models", "runs", "mlflow-artifacts")
"""Of the URIs that MLflow resolves."""

_PIPELINES = ("data/sparkml", "sparkml", ".")
"""Where a pipeline lies in a model of MLflow's: of our own flavors, of mlflow.spark; a folder that is itself one."""


@contextmanager
def downloaded(uri: str) -> Iterator[Path]:
    """Give a folder with a model of MLflow's for the block.

    Raises
    ------
    PersistenceError
        MLflow is not installed, or has no such model.
    """
    try:
        from mlflow.artifacts import download_artifacts
    except ImportError as error:
        raise PersistenceError(f"{uri} is a model of MLflow's: pip install 'sparkdl-torch[mlflow]'") from error
    with tempfile.TemporaryDirectory(prefix="sparkdl-load-") as folder:
        try:
            path = download_artifacts(artifact_uri=uri, dst_path=folder)
        # Registries and stores raise errors of many classes.
        except Exception as error:
            told = without_credentials(" ".join(str(error).split()))
            raise PersistenceError(f"{without_credentials(uri)} cannot be had from MLflow: {told}") from error
        yield Path(path)


def stage_in(folder: Path, named: str) -> Path:
    """Return the folder of the one stage in a saved stage, a saved pipeline or a model of MLflow's.

    Parameters
    ----------
    folder : Path
    named : str
        How the user named it, for errors.

    Raises
    ------
    PersistenceError
        If there is none, or more than one.
    """
    found = next((each for place in _PIPELINES if ((each := folder / place) / "metadata").is_dir()), None)
    if found is None:
        raise PersistenceError(f"{named}: there is no saved model of sparkdl's")
    if not (found / "stages").is_dir():
        return found
    stages = [path for path in (found / "stages").iterdir() if path.is_dir()]
    if len(stages) != 1:
        raise PersistenceError(
            f"{named} is a pipeline of {len(stages)} stages, a model alone is wanted: load it by PipelineModel.load or "
            "mlflow.spark.load_model"
        )
    return stages[0]
