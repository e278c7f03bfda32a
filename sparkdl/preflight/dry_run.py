"""What can be tried on the driver before ranks start: names, the loss, the optimizer, one forward pass of two rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from sparkdl.blame import in_a_line, place_of
from sparkdl.errors import NetworkError, SettingError, SparkDLError
from sparkdl.network.copies import copied
from sparkdl.network.resolve import make, named_network, resolve, size_arguments
from sparkdl.network.seeding import seeded
from sparkdl.preflight.arguments import check_arguments, check_placed, name_of
from sparkdl.schema import DataSchema
from sparkdl.train.callbacks import EarlyStopping
from sparkdl.train.compiled import Compiled
from sparkdl.train.config import TrainConfig
from sparkdl.train.losses import CLASSES, LOSSES, NUMBERS, compares, takes_probabilities
from sparkdl.train.metrics import MetricSet
from sparkdl.train.objectives import Objective
from sparkdl.train.optim import filled, make_optimizer, make_schedule, optimizer_class, schedule_class, trainable

if TYPE_CHECKING:
    from sparkdl.comm.backend import Backend

Shapes = tuple[tuple[int, ...], ...]

ROWS = 2
_CPU = torch.device("cpu")
_SOME_STEPS = 100
_SOME_SIZE = 16
"""A square, which `cnn` can take for an image."""


def measured_by(config: TrainConfig) -> list[str]:
    """Return the names of what each epoch measures: "loss", then the metrics.

    Raises
    ------
    SettingError
        If a metric's name is unknown or it cannot be made, or early stopping monitors one of which nobody knows
        whether more is better.
    """
    # A set of metrics asks its backend at the end of an epoch only.
    metrics = MetricSet(config, cast("Backend", None), _CPU)
    directions = {"loss": False, **metrics.directions()}
    directions |= {f"val_{name}": better for name, better in directions.items()}
    for callback in config.callbacks:
        if isinstance(callback, EarlyStopping) and callback.metric in directions:
            callback.direction(directions)
    metrics.try_out()
    return ["loss", *metrics.names]


def check_task(config: TrainConfig) -> None:
    """Refuse a loss that cannot be that of a classifier, or of a regressor.

    Raises
    ------
    SettingError
        Names the loss and the one to take.
    """
    wrong = {"classification": NUMBERS, "regression": CLASSES}.get(config.task)
    for loss in config.losses:
        shown = repr(loss) if isinstance(loss, str) else name_of(loss)
        if config.task == "classification" and takes_probabilities(loss):
            raise SettingError(
                f"invalid loss={shown}: it takes probabilities, and the network of a classifier returns logits: take "
                "'bce_with_logits', and leave the sigmoid at its end out"
            )
        if wrong is not None and compares(loss) == wrong:
            what, take = (
                (
                    "compares numbers",
                    "a classifier learns which class a row is of: take 'cross_entropy', or use TorchRegressor",
                )
                if wrong == NUMBERS
                else ("learns classes", "a regressor predicts a number: take 'mse', or use TorchClassifier")
            )
            raise SettingError(f"invalid loss={shown}: it {what}, and {take}")


def check_names(module: Any, module_params: Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse names and arguments that need neither rows nor network to be known as wrong.

    Raises
    ------
    SettingError
        Names the Param, and what was meant where that is close.
    """
    _check_arguments(module, module_params, config)
    if isinstance(config.compile, Mapping):
        check_arguments("compile", config.compile, torch.compile, placed=1)
        # It knows which modes, options and backends there are.
        Compiled(nn.Identity(), config.compile)
    Objective(config, _CPU)
    known = isinstance(config.optimizer, (str, type))
    made = config if known else replace(config, optimizer="sgd", optimizer_params={})
    optimizer = make_optimizer(made, [nn.Parameter(torch.zeros(1, 1))])
    if isinstance(config.lr_schedule, (str, type)):
        make_schedule(config, optimizer, _SOME_STEPS)


def _check_arguments(module: Any, module_params: Mapping[str, Any], config: TrainConfig) -> None:
    if isinstance(module, str):
        network = named_network(module)
        # Its sizes come from the data where they are not given.
        check_arguments(
            "moduleParams", module_params, network, label=module, filled=inspect.signature(network).parameters
        )
    elif not isinstance(module, nn.Module):
        check_arguments("moduleParams", module_params, module)
    for loss, params in zip(config.losses, config.loss_params or ({},) * len(config.losses), strict=True):
        kind: Any = LOSSES.get(loss) if isinstance(loss, str) else loss
        if isinstance(kind, type):
            check_arguments("lossParams", params, kind, label=loss if isinstance(loss, str) else None)
        elif kind is not None and not isinstance(kind, nn.Module):
            check_arguments("lossParams", params, kind, placed=2)
    optimizer: Any = config.optimizer
    rate = () if inspect.isfunction(optimizer) else ("lr",)
    if isinstance(optimizer, str):
        optimizer = optimizer_class(optimizer)
    check_arguments("optimizerParams", config.optimizer_params, optimizer, placed=1, filled=rate)
    schedule: Any = config.lr_schedule
    if isinstance(schedule, str):
        schedule = schedule_class(schedule)
    if isinstance(schedule, type):
        complete = filled(schedule, dict(config.lr_schedule_params), config, _SOME_STEPS)
        check_arguments("lrScheduleParams", config.lr_schedule_params, schedule, placed=1, filled=complete)
    elif schedule is not None:
        check_arguments("lrScheduleParams", config.lr_schedule_params, schedule, placed=2)
        check_placed("lrSchedule", schedule, "optimizer", "totalSteps", given=config.lr_schedule_params)
    for metric in config.metrics:
        if not isinstance(metric, (str, type)):
            check_placed("metrics", metric, "output", "target")


def network_before_rows(
    module: Any,
    module_params: Mapping[str, Any],
    schema: DataSchema,
    output_size: Callable[[DataSchema], int | None],
    seed: int,
) -> tuple[nn.Module | None, DataSchema]:
    """Make the network before any row is touched; return it, and the schema to try it with.

    A network by name is made for some other size where the schema does not tell that of its inputs.

    Parameters
    ----------
    module, module_params
        As the user gave them.
    schema : DataSchema
        What types and metadata tell.
    output_size : callable
        Returns the size of the output of a network by name.
    seed : int

    Returns
    -------
    network : nn.Module or None
        None where it cannot be made without the rows.
    schema : DataSchema
        Without shapes of inputs where there is nothing to try.

    Raises
    ------
    NetworkError, SettingError
        If the network cannot be made or copied.
    """
    known = all(field.known for field in schema.inputs)
    if not isinstance(module, str):
        made = resolve(module, module_params, schema, None, seed).module if known else make(module, module_params, seed)
        return made, schema
    if not known and size_arguments(module) & set(module_params):
        # Whether these fit the data, the rows will tell.
        return None, schema
    some = {f.name: tuple(_SOME_SIZE if size < 0 else size for size in f.shape) for f in schema.fields}
    network = resolve(module, module_params, schema.resolved(some), output_size(schema.resolved(some)), seed)
    return network.module, schema.resolved({field.name: some[field.name] for field in schema.inputs})


def dry_run(module: nn.Module, config: TrainConfig, schema: DataSchema, outputs: Shapes | None) -> None:
    """Compute the loss of two rows of zeros, and make the optimizer; nothing is changed by it.

    Parameters
    ----------
    module : nn.Module
        On the CPU.
    config : TrainConfig
        Of this network.
    schema : DataSchema
        Without the shapes of the labels there is no loss.
    outputs : tuple of tuple of int, or None
        Shape of one row of each output of the network; None: not known yet.

    Raises
    ------
    NetworkError
        If network, labels and loss do not fit each other.
    SettingError
        If the optimizer cannot be made.
    """
    with seeded(config.seed):
        if outputs is not None and all(field.known for field in schema.labels):
            _try_loss(config, schema, outputs)
        if not any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
            parameters = trainable(copied(module))
            if not isinstance(config.optimizer, (str, type)):
                make_optimizer(config, parameters)
            _try_schedule(config, parameters)


def _try_schedule(config: TrainConfig, parameters: Sequence[nn.Parameter]) -> None:
    """Refuse a function that returns no schedule; what it raises may come of a number of steps that is made up."""
    if not inspect.isfunction(config.lr_schedule):
        return
    try:
        made = config.lr_schedule(make_optimizer(config, parameters), _SOME_STEPS, **config.lr_schedule_params)
    except Exception:
        return
    if not callable(getattr(made, "step", None)):
        raise SettingError(
            f"invalid lrSchedule: {name_of(config.lr_schedule)} returned {type(made).__name__}, and has to return a "
            "schedule with step()"
        )


def _try_metrics(config: TrainConfig, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    """Refuse functions that return no number; what they raise may come of rows that are all zeros."""
    for metric in config.metrics:
        # An object may keep something of each call.
        if not inspect.isfunction(metric):
            continue
        try:
            value = metric(outputs[0].detach(), targets[0].reshape(outputs[0].shape))
        except Exception:
            continue
        try:
            float(value)
        except (TypeError, ValueError, RuntimeError):
            what = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
            raise SettingError(
                f"invalid metrics: {name_of(metric)} returned {what} for {ROWS} rows, and has to return one number"
            ) from None


def _try_loss(config: TrainConfig, schema: DataSchema, shapes: Shapes) -> None:
    outputs = tuple(torch.zeros((ROWS, *shape), requires_grad=True) for shape in shapes)
    targets = tuple(torch.zeros((ROWS, *field.shape), dtype=getattr(torch, field.dtype)) for field in schema.labels)
    weights = None if schema.weight is None else torch.ones(ROWS)
    try:
        loss, _ = Objective(config, _CPU)(outputs, targets, weights)
    except NetworkError as error:
        raise NetworkError(f"{error}; {_labels(schema)}") from error.__cause__
    except SparkDLError:
        raise
    except Exception as error:
        shown = ", ".join(f"{tuple(o.shape)} with {tuple(t.shape)}" for o, t in zip(outputs, targets, strict=True))
        place = place_of(error)
        raise NetworkError(
            f"the loss raised {in_a_line(error)}{place and f' ({place})'} for an output and a label of {shown}; "
            "change the loss, or the last layer of the network"
        ) from error
    _try_metrics(config, outputs, targets)
    if not loss.requires_grad:
        raise NetworkError(
            "the loss does not depend on the output of the network: compute it by torch from the output, "
            "without detach, item or numpy"
        )


def _labels(schema: DataSchema) -> str:
    """Return "the label is column 'y', of 2 numbers a row"."""
    numbers = [
        f"column {f.columns[0]!r}, of {f.size} {'number' if f.size == 1 else 'numbers'} a row" for f in schema.labels
    ]
    return f"the label is {numbers[0]}" if len(numbers) == 1 else f"the labels are {', '.join(numbers)}"
