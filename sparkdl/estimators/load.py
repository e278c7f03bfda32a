"""Loading a model from this machine or from MLflow, without Spark's file systems."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from sparkdl.errors import PersistenceError, path_text, without_credentials
from sparkdl.estimators.model import NetworkModel, model_class
from sparkdl.persistence import read_stage
from sparkdl.persistence import trusted as trust
from sparkdl.storage import urls
from sparkdl.tracking.download import SCHEMES, downloaded, stage_in


def load_model(uri: str | os.PathLike[str], trusted: bool = False) -> NetworkModel:
    """Load a model from a folder of this machine or from MLflow; no file system of Spark's is asked.

    Parameters
    ----------
    uri : str or PathLike
        A folder that `save` has written, of a model or of a pipeline with nothing else in it; on Databricks also
        "/Volumes/..." and "dbfs:/...". Or what MLflow resolves: "models:/name@alias", "models:/name/1",
        "runs:/id/model".
    trusted : bool
        As of `TorchModel.load`.

    Raises
    ------
    PersistenceError
        There is no model, it is damaged, or it needs a class that this process does not know.
    """
    text = path_text("uri", uri)
    shown = without_credentials(text, one_url=True)
    with ExitStack() as stack:
        if trusted:
            stack.enter_context(trust())
        if text.partition(":/")[0].lower() in SCHEMES:
            folder = stack.enter_context(downloaded(text))
        elif urls.is_local(text):
            folder = Path(urls.local_path(text))
        else:
            raise PersistenceError(
                f"{shown} is no folder of this machine: load it by the load of its class, with Spark"
            )
        stage = stage_in(folder, shown)
        return read_stage(model_class(stage, shown), stage, shown)
