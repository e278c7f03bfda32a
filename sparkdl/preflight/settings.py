"""Settings that contradict each other or the DataFrame's schema, each refused by name before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparkdl.comm.registry import backends_for
from sparkdl.errors import SettingError
from sparkdl.params.columns import HasOutputs
from sparkdl.params.roles import added_columns, labels_of
from sparkdl.params.stages import ClassifierParams, TrainingParams
from sparkdl.storage.access import shown
from sparkdl.train.callbacks import EarlyStopping
from sparkdl.train.precision import check_device

DEFAULT_SHARDS = 8


def check_settings(
    stage: TrainingParams, columns: Sequence[str], measured: Sequence[str], *, case_sensitive: bool = False
) -> None:
    """Refuse settings that cannot work together, or beside these columns.

    Parameters
    ----------
    stage : TrainingParams
        The estimator.
    columns : sequence of str
        Of the DataFrame.
    measured : sequence of str
        Names of what each epoch measures on the rows it learns from: "loss" and the metrics.
    case_sensitive : bool
        As ``spark.sql.caseSensitive``.

    Raises
    ------
    SettingError
        Names the Params and what to change.
    """
    _check_network(stage)
    _check_added(stage, columns, case_sensitive)
    _check_validation(stage)
    _check_stopping(stage, measured)
    _check_stopping_callbacks(stage, measured)
    _check_ranks(stage)
    _check_compile(stage)
    _check_objective(stage)
    _check_outputs(stage)
    _check_optimizer(stage)
    _check_feed(stage)
    if stage.getPadMask() and stage.getPadValue() is None:
        raise SettingError("padMask=True marks what padValue has added, and padValue is not set: set padValue as well")
    if isinstance(stage, ClassifierParams):
        _check_lists_of_classes(stage)


def shards_of(stage: TrainingParams) -> int:
    """Return the number of shards: as set, else 8 or `numProcs` if that is more."""
    return stage.getCanonicalShards() or max(DEFAULT_SHARDS, stage.getNumProcs())


def validates(stage: TrainingParams) -> bool:
    """Tell whether some of the rows are only measured."""
    return bool(stage.getValidationIndicatorCol()) or stage.getValidationFraction() > 0


def check_classes(stage: ClassifierParams, classes: int) -> None:
    """Refuse lists that must have one entry for each class, and have not.

    Raises
    ------
    SettingError
        Names the Param, its length and the number of classes.
    """
    for name, values in (("thresholds", stage.getThresholds()), ("classWeights", stage.getClassWeights())):
        if isinstance(values, list) and len(values) != classes:
            raise SettingError(
                f"{name} has {len(values)} entries for {classes} classes: give one for each class, in their order"
            )


def _check_lists_of_classes(stage: ClassifierParams) -> None:
    thresholds, weights = stage.getThresholds(), stage.getClassWeights()
    if stage.getNumClasses():
        check_classes(stage, stage.getNumClasses())
    elif thresholds is not None and isinstance(weights, list) and len(thresholds) != len(weights):
        raise SettingError(
            f"thresholds has {len(thresholds)} entries and classWeights {len(weights)}: give each one for each class"
        )


def _check_network(stage: TrainingParams) -> None:
    if stage.getModule() is None:
        raise SettingError(
            "module is not set: give a name in sparkdl.nn such as 'mlp', an nn.Module, a class or a function"
        )


def _check_added(stage: TrainingParams, columns: Sequence[str], case_sensitive: bool) -> None:
    def key(name: str) -> str:
        return name if case_sensitive else name.lower()

    there = {key(name) for name in columns}
    owner: dict[str, str] = {}
    for param, name in added_columns(stage).items():
        if key(name) in there:
            raise SettingError(
                f"{param}={name!r} names a column that the DataFrame has already: set {param} to another name, "
                "or drop that column"
            )
        if key(name) in owner:
            raise SettingError(f"{owner[key(name)]} and {param} both name the column {name!r}: give each its own name")
        owner[key(name)] = param


def _check_validation(stage: TrainingParams) -> None:
    column, fraction = stage.getValidationIndicatorCol(), stage.getValidationFraction()
    if column and fraction > 0:
        raise SettingError(
            f"validationIndicatorCol={column!r} and validationFraction={fraction:g} both choose the validation rows: "
            "set one of them"
        )


def _check_stopping(stage: TrainingParams, measured: Sequence[str]) -> None:
    patience, metric = stage.getEarlyStoppingPatience(), stage.getEarlyStoppingMetric()
    if patience is None:
        return
    if metric.startswith("val_") and not validates(stage):
        raise SettingError(
            f"earlyStoppingPatience={patience} watches {metric!r}, and no rows are validated: "
            "set validationIndicatorCol or validationFraction, or earlyStoppingMetric to one of " + ", ".join(measured)
        )
    known = [*measured, *(f"val_{name}" for name in measured if validates(stage))]
    if metric not in known:
        raise SettingError(
            f"earlyStoppingMetric={metric!r} is not measured: take one of {', '.join(known)}, or add it to metrics"
        )


def _check_stopping_callbacks(stage: TrainingParams, measured: Sequence[str]) -> None:
    patience = stage.getEarlyStoppingPatience()
    known = [*measured, *(f"val_{name}" for name in measured if validates(stage))]
    for callback in stage.getCallbacks():
        if not isinstance(callback, EarlyStopping):
            continue
        if patience is not None:
            raise SettingError(
                f"invalid callbacks: earlyStoppingPatience={patience} makes an EarlyStopping already, "
                "leave out one of them"
            )
        if callback.metric not in known:
            raise SettingError(
                f"invalid metric={callback.metric!r} of EarlyStopping: expected one of {', '.join(known)}; "
                "val_ needs validationIndicatorCol or validationFraction, a metric has to be in metrics"
            )


def _check_ranks(stage: TrainingParams) -> None:
    ranks, shards = stage.getNumProcs(), stage.getCanonicalShards()
    if shards is not None and shards < ranks:
        raise SettingError(
            f"canonicalShards={shards} is less than numProcs={ranks}, and a rank needs a shard: "
            f"set canonicalShards to {ranks} or more, or leave it out"
        )
    least = stage.getMinProcs()
    if least is not None and least > ranks:
        raise SettingError(f"minProcs={least} is more than numProcs={ranks}: set minProcs to {ranks} or less")
    if stage.getBackend() not in backends_for(ranks):
        raise SettingError(
            f"backend={stage.getBackend()!r} is one rank alone, and numProcs={ranks}: "
            "set backend to 'auto', 'horovod' or 'torch', or numProcs to 1"
        )
    check_device(stage.getPrecision(), stage.getDevice())
    if stage.getAccumulationSteps() > stage.getBatchSize():
        raise SettingError(
            f"accumulationSteps={stage.getAccumulationSteps()} is more than batchSize={stage.getBatchSize()}, "
            "so that parts would have no row: lower accumulationSteps"
        )


def _check_feed(stage: TrainingParams) -> None:
    if stage.getFeed() == "direct" and stage.getCacheUrl():
        raise SettingError(
            f"feed='direct' writes no files, and cacheUrl={shown(str(stage.getCacheUrl()))!r} is a folder for them: "
            "leave cacheUrl out, or set feed to 'parquet'"
        )


def _check_compile(stage: TrainingParams) -> None:
    compiled = stage.getCompile()
    whole = isinstance(compiled, Mapping) and compiled.get("fullgraph")
    if whole and stage.getSyncBatchNorm() and stage.getNumProcs() > 1:
        raise SettingError(
            f"compile={compiled!r} and syncBatchNorm=True: the ranks meet in each layer of batch norm, which can be no "
            "part of a graph: leave fullgraph or syncBatchNorm out"
        )


def _check_objective(stage: TrainingParams) -> None:
    labels = len(labels_of(stage))
    for name, value in (
        ("loss", stage.getLoss()),
        ("lossParams", stage.getLossParams()),
        ("lossWeights", stage.getLossWeights()),
    ):
        if isinstance(value, list) and len(value) != labels:
            columns = "column" if labels == 1 else "columns"
            raise SettingError(f"{name} has {len(value)} entries for {labels} label {columns}: give one for each label")


def _check_outputs(stage: TrainingParams) -> None:
    if not isinstance(stage, HasOutputs):
        return
    labels, names = labels_of(stage), stage.getOutputCols()
    if names is None and len(labels) > 1:
        raise SettingError(
            f"labelCols names {len(labels)} labels, of one output each, and predictionCol names one column: "
            "set outputCols, one name for each output"
        )
    if names is not None and len(names) != len(labels):
        labels_are = "1 label column" if len(labels) == 1 else f"{len(labels)} label columns"
        raise SettingError(
            f"outputCols has {len(names)} names for {labels_are}, and the network has one output for each: "
            'name each, "" leaves one out'
        )


def _check_optimizer(stage: TrainingParams) -> None:
    params = stage.getOptimizerParams()
    if "lr" in params:
        raise SettingError(
            f"optimizerParams holds lr={params['lr']!r}, and learningRate={stage.getLearningRate():g} sets it too: "
            "use learningRate alone"
        )
    if stage.getLrScheduleParams() and stage.getLrSchedule() is None:
        raise SettingError(
            f"lrScheduleParams={stage.getLrScheduleParams()!r} has no effect without lrSchedule: set lrSchedule as well"
        )
