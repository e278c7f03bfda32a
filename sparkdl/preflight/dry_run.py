"""What can be tried on the driver before ranks start: names, the loss, the optimizer, one forward pass of two rows."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from sparkdl.errors import NetworkError, SparkDLError
from sparkdl.network import check
from sparkdl.network.resolve import named_network
from sparkdl.network.seeding import seeded
from sparkdl.preflight.arguments import check_arguments
from sparkdl.schema import DataSchema
from sparkdl.train.callbacks import EarlyStopping
from sparkdl.train.config import TrainConfig
from sparkdl.train.metrics import MetricSet
from sparkdl.train.objectives import LOSSES, Objective
from sparkdl.train.optim import filled, make_optimizer, make_schedule, optimizer_class, schedule_class, trainable

if TYPE_CHECKING:
    from sparkdl.comm.backend import Backend

ROWS = 2
_CPU = torch.device("cpu")
_SOME_STEPS = 100


def measured_by(config: TrainConfig) -> list[str]:
    """Return the names of what each epoch measures: "loss", then the metrics.

    Raises
    ------
    SettingError
        If a metric's name is unknown, or early stopping monitors one of which nobody knows whether more is better.
    """
    # A set of metrics asks its backend at the end of an epoch only.
    metrics = MetricSet(config, cast("Backend", None), _CPU)
    directions = {"loss": False, **metrics.directions()}
    directions |= {f"val_{name}": better for name, better in directions.items()}
    for callback in config.callbacks:
        if isinstance(callback, EarlyStopping) and callback.metric in directions:
            callback.direction(directions)
    return ["loss", *metrics.names]


def check_names(module: Any, module_params: Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse names and arguments that need neither rows nor network to be known as wrong.

    Raises
    ------
    SettingError
        Names the Param, and what was meant where that is close.
    """
    _check_arguments(module, module_params, config)
    Objective(config, _CPU)
    known = isinstance(config.optimizer, (str, type))
    made = config if known else replace(config, optimizer="sgd", optimizer_params={})
    optimizer = make_optimizer(made, [nn.Parameter(torch.zeros(1))])
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


def dry_run(module: nn.Module, config: TrainConfig, schema: DataSchema) -> tuple[tuple[int, ...], ...]:
    """Send two rows of zeros through the network and its loss, and make its optimizer; nothing is changed by it.

    Parameters
    ----------
    module : nn.Module
        On the CPU.
    config : TrainConfig
        Of this network.
    schema : DataSchema
        With every shape known.

    Returns
    -------
    tuple of tuple of int
        Shape of one row of each output.

    Raises
    ------
    NetworkError
        If network, labels and loss do not fit each other.
    SettingError
        If the optimizer cannot be made.
    """
    shapes = check(module, schema, ROWS)
    outputs = tuple(torch.zeros((ROWS, *shape), requires_grad=True) for shape in shapes)
    targets = tuple(torch.zeros((ROWS, *field.shape), dtype=getattr(torch, field.dtype)) for field in schema.labels)
    weights = None if schema.weight is None else torch.ones(ROWS)
    with seeded(config.seed):
        try:
            loss, _ = Objective(config, _CPU)(outputs, targets, weights)
        except SparkDLError:
            raise
        except Exception as error:
            shown = ", ".join(f"{tuple(o.shape)} with {tuple(t.shape)}" for o, t in zip(outputs, targets, strict=True))
            raise NetworkError(
                f"the loss raised {type(error).__name__} for an output and a label of {shown}: {error}; "
                "change the loss, or the last layer of the network"
            ) from error
        if not loss.requires_grad:
            raise NetworkError(
                "the loss does not depend on the output of the network: compute it by torch from the output, "
                "without detach, item or numpy"
            )
        parameters = trainable(copy.deepcopy(module))
        if not isinstance(config.optimizer, (str, type)):
            make_optimizer(config, parameters)
    return shapes
