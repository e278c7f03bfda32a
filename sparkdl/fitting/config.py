"""The Params of an estimator as the frozen settings that ranks get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparkdl.params.roles import labels_of
from sparkdl.params.stages import TrainingParams
from sparkdl.preflight.settings import shards_of
from sparkdl.train.callbacks import Callback, EarlyStopping
from sparkdl.train.config import TrainConfig

if TYPE_CHECKING:
    from sparkdl.data.format.manifest import Manifest
    from sparkdl.data.sampling.plan import Plan

_SEED_BITS = 63


def config_of(stage: TrainingParams, *, task: str, loss: str, metrics: tuple[str, ...]) -> TrainConfig:
    """Return the settings of the training loop.

    Parameters
    ----------
    stage : TrainingParams
        The estimator.
    task : str
        "classification", "regression" or "generic".
    loss : str
        Where the Param is not set.
    metrics : tuple of str
        Where the Param is not set.
    """
    names = tuple(labels_of(stage))
    labels = len(names)
    params: Any = stage.getLossParams()
    given = stage.getMetrics()
    return TrainConfig(
        task=task,
        label_names=names if labels > 1 else (),
        losses=_for_each(stage.getLoss() or loss, labels),
        loss_params=_for_each(params, labels) if params else (),
        loss_weights=tuple(stage.getLossWeights() or ()),
        metrics=metrics if given is None else tuple(given),
        optimizer=stage.getOptimizer(),
        optimizer_params=stage.getOptimizerParams(),
        learning_rate=stage.getLearningRate(),
        lr_schedule=stage.getLrSchedule(),
        lr_schedule_params=stage.getLrScheduleParams(),
        epochs=stage.getEpochs(),
        accumulation_steps=stage.getAccumulationSteps(),
        seed=seed_of(stage),
        precision=stage.getPrecision(),
        matmul_precision=stage.getMatmulPrecision(),
        compile=stage.getCompile(),
        gradient_clip_norm=stage.getGradientClipNorm(),
        sync_batch_norm=stage.getSyncBatchNorm(),
        callbacks=(*stage.getCallbacks(), *_early_stopping(stage)),
    )


def _early_stopping(stage: TrainingParams) -> tuple[Callback, ...]:
    patience = stage.getEarlyStoppingPatience()
    return () if patience is None else (EarlyStopping(stage.getEarlyStoppingMetric(), patience),)


def seed_of(stage: TrainingParams) -> int:
    """Return the seed as a number that every generator takes: Spark's seeds may be negative."""
    return stage.getSeed() % (1 << _SEED_BITS)


def plan_of(stage: TrainingParams, manifest: Manifest) -> Plan:
    """Return the steps of an epoch over the rows that are learned from."""
    from sparkdl.data.sampling.plan import Plan

    return Plan.of(
        manifest,
        batch_size=stage.getBatchSize(),
        seed=seed_of(stage),
        canonical_shards=shards_of(stage),
        shuffle=stage.getShuffle(),
        window=stage.getShuffleWindow(),
        drop_last=stage.getDropLast(),
        steps_per_epoch=stage.getStepsPerEpoch(),
    )


def measuring_plan_of(stage: TrainingParams, manifest: Manifest) -> Plan:
    """Return the steps over the rows that are only measured: all of them, in the order of the files."""
    from sparkdl.data.sampling.plan import Plan

    return Plan.of(manifest, batch_size=stage.getBatchSize(), canonical_shards=shards_of(stage), shuffle=False)


def _for_each(value: Any, labels: int) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return (dict(value),) * labels
    return tuple(value) if isinstance(value, list) else (value,) * labels
