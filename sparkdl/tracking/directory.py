"""A model as the directory of a `PipelineModel` with one stage, written and read on the driver without Spark.

`mlflow.spark.load_model` loads it by Spark ML's own reader, `sparkdl.tracking.pyfunc` with torch alone.
"""

from __future__ import annotations

import json
import time
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from sparkdl.persistence import Savable, write_stage
from sparkdl.persistence.reading import checked_uid
from sparkdl.tracking.download import stage_in

if TYPE_CHECKING:
    from sparkdl.scoring.local import LocalScorer

PIPELINE_CLASS = "pyspark.ml.pipeline.PipelineModel"


def write_pipeline(model: Savable, folder: Path) -> Path:
    """Write a model as the only stage of a `PipelineModel`, in the layout of pyspark's `PipelineSharedReadWrite`.

    Parameters
    ----------
    model : Savable
        A fitted model.
    folder : Path
        Made here.

    Returns
    -------
    Path
        The folder.
    """
    stage = folder / "stages" / f"0_{checked_uid(model.uid)}"
    stage.mkdir(parents=True)
    write_stage(model, stage)
    metadata = {
        "class": PIPELINE_CLASS,
        "timestamp": round(time.time() * 1000),
        "sparkVersion": version("pyspark"),
        "uid": f"PipelineModel_{uuid.uuid4().hex[:12]}",
        "paramMap": {"stageUids": [model.uid], "language": "Python"},
        "defaultParamMap": {},
        "language": "Python",
    }
    (folder / "metadata").mkdir()
    (folder / "metadata" / "part-00000").write_text(json.dumps(metadata) + "\n")
    (folder / "metadata" / "_SUCCESS").touch()
    return folder


def load_pipeline(folder: Path) -> LocalScorer:
    """Return what scores pandas with the model that `write_pipeline` has written.

    Raises
    ------
    PersistenceError
        If the folder has not exactly one stage, or it cannot be loaded.
    """
    from sparkdl.estimators.model import load_local

    return load_local(stage_in(folder, str(folder)))
