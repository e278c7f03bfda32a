"""The checkpoints of one fit: their folder, and what they carry besides the state of the training."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sparkdl.fitting.job_identity import job_of, weights_digest
from sparkdl.preflight.checkpoints import named
from sparkdl.preflight.settings import validates
from sparkdl.storage import urls
from sparkdl.train.checkpoint.config import CheckpointConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from sparkdl.data.format.manifest import Manifest
    from sparkdl.data.sampling.plan import Plan
    from sparkdl.data.write import Dataset
    from sparkdl.fitting.shared_dataset import RowsWanted
    from sparkdl.params.stages import TrainingParams
    from sparkdl.spark.facts import SessionFacts
    from sparkdl.train.config import TrainConfig

_ROWS = "rows"


def until_done(stage: TrainingParams, wanted: RowsWanted, facts: SessionFacts) -> RowsWanted:
    """Return the rows that are wanted, kept beside the checkpoints where nothing else keeps them.

    Another program that goes on with the job finds the same rows there, in the same files.
    """
    url = stage.getCheckpointUrl()
    if not url or wanted.cache_url or facts.cache_url or wanted.feed == "direct":
        return wanted
    return replace(wanted, cache_url=urls.join(url, _ROWS), until_done=True)


def rows_identity(wanted: RowsWanted, rows: Dataset) -> list[Any]:
    """Return what identifies the rows of a fit: what was asked for, and what they hold.

    Rows that are found by their content are the same in whatever order and files they come; those of a direct feed are
    only the same in the same partitions.
    """
    splits = [rows.train] if rows.validation is None else [rows.train, rows.validation]
    return [
        wanted.schema.to_json(),
        [wanted.validation_column, wanted.validation_fraction, wanted.seed, wanted.fill_value, wanted.pad_value],
        rows.checksum or [manifest.hash for manifest in splits],
    ]


def checkpoints_of(
    stage: TrainingParams,
    config: TrainConfig,
    module: nn.Module,
    splits: list[tuple[Manifest, Plan]],
    rows: Any,
    model: Mapping[str, Any],
    constants: Mapping[str, Tensor],
    *,
    alone: bool,
) -> CheckpointConfig | None:
    """Return the settings of a fit's checkpoints, None where it takes none.

    Parameters
    ----------
    stage : TrainingParams
    config : TrainConfig
    module : nn.Module
        With its first weights.
    splits : list of (Manifest, Plan)
    rows : object
        What identifies the rows.
    model, constants : mapping
        What makes a model of the weights of a checkpoint.
    alone : bool
        Whether it is none of a search.
    """
    url = stage.getCheckpointUrl()
    if not url:
        return None
    metric = stage.getEarlyStoppingMetric()
    base = urls.local_path(url) if urls.is_local(url) else url
    return CheckpointConfig(
        url=urls.join(base, f"{type(stage).__name__}-{job_of(config, module, [plan for _, plan in splits], rows)}"),
        named=named(url),
        options=stage.getStorageOptions(),
        interval=stage.getCheckpointInterval(),
        steps=stage.getCheckpointSteps(),
        minutes=stage.getCheckpointMinutes(),
        keep=stage.getCheckpointKeep(),
        metric=metric if validates(stage) or not metric.startswith("val_") else None,
        resume=stage.getResume(),
        run=uuid.uuid4().hex,
        alone=alone,
        about={
            "firstWeights": weights_digest(module),
            "manifest": [manifest.hash for manifest, _ in splits],
            "rows": [manifest.rows for manifest, _ in splits],
            "model": dict(model),
        },
        constants=constants,
    )
