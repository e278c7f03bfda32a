"""What a network asks of the steps."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparkdl.errors import NetworkError, SettingError
from sparkdl.network.check import final_functions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparkdl.data.sampling.plan import Plan
    from sparkdl.params.stages import TrainingParams
    from sparkdl.schema import DataSchema


def check_batch(stage: TrainingParams, module: nn.Module) -> None:
    """Refuse a batchSize that gives batch norm a single row whatever rows there are.

    Raises
    ------
    SettingError
        Names the settings that change it.
    """
    ranks = 1 if stage.getSyncBatchNorm() else stage.getNumProcs()
    parts = 1 if stage.getSyncBatchNorm() else stage.getAccumulationSteps()
    if stage.getBatchSize() >= 2 * ranks * parts or not _has_batch_norm(module):
        return
    others = [
        *(["fewer numProcs", "syncBatchNorm"] if ranks > 1 else []),
        *(["fewer accumulationSteps"] if parts > 1 else []),
    ]
    raise SettingError(
        f"batchSize={stage.getBatchSize()} gives {'a part of the share of ' if parts > 1 else ''}a rank a single row, "
        f"and batch norm needs two: {', or '.join([f'set batchSize to {2 * ranks * parts} or more', *others])}"
    )


def check_logits(module: nn.Module, schema: DataSchema, outputs: Sequence[tuple[int, ...]]) -> None:
    """Refuse a classifier's network whose only output is a probability, and warn of several: both are made of logits.

    Parameters
    ----------
    module : nn.Module
    schema : DataSchema
        With the shapes of the inputs.
    outputs : sequence of tuple of int
        Of one row each.

    Raises
    ------
    NetworkError
        If the probability of a probability would be above 0.5 for each row.
    """
    for function, shape in zip(final_functions(module, schema), outputs, strict=True):
        if function not in ("sigmoid", "softmax"):
            continue
        said = f"{type(module).__name__} ends in a {function}, and a classifier makes probabilities of logits itself"
        if math.prod(shape) == 1:
            raise NetworkError(f"the network {said}: every row would be of class 1; leave the {function} out")
        remedy = f"leave the {function} out{' or make it a log_softmax' if function == 'softmax' else ''}"
        warnings.warn(
            f"the network {said}: it learns slowly, and its probabilities are all alike; {remedy}", stacklevel=2
        )


def check_steps(stage: TrainingParams, module: nn.Module, plan: Plan) -> None:
    """Refuse an epoch without steps, and steps that give a rank a single row, which batch norm cannot normalise.

    Parameters
    ----------
    stage : TrainingParams
        The estimator.
    module : nn.Module
        Its network.
    plan : Plan
        Of the rows that it learns from.

    Raises
    ------
    SettingError
        Names the step's rows and the settings that change them.
    """
    if not plan.steps:
        raise SettingError(
            f"dropLast leaves out the only step: {plan.total_rows} rows are fewer than batchSize={plan.batch_size}: "
            "lower batchSize, or leave dropLast out"
        )
    if not _has_batch_norm(module):
        return
    ranks = 1 if stage.getSyncBatchNorm() else stage.getNumProcs()
    parts = 1 if stage.getSyncBatchNorm() else stage.getAccumulationSteps()
    # The shares rotate over the shards, so the first steps show every pattern of a full step.
    for step in sorted({*range(min(plan.steps, plan.canonical_shards)), plan.steps - 1}):
        shares = plan.shares(step)
        # A last step of fewer rows is computed in fewer parts.
        cut = parts if plan.step_rows(step) == plan.batch_size else 1
        for rank in range(ranks):
            # Its parts are equal up to one row, so that one of them is a single row, or all have two and more.
            if 0 < sum(shares[rank::ranks]) < 2 * cut:
                raise SettingError(_lonely_row(plan, step, rank, ranks, cut))


def _has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def _lonely_row(plan: Plan, step: int, rank: int, ranks: int, parts: int) -> str:
    rows = plan.step_rows(step)
    share: int | str = sum(plan.shares(step)[rank::ranks])
    share = "one" if share == 1 else share
    whose = f"{share} of them for rank {rank}" if parts == 1 else f"{share} of them for rank {rank} in {parts} parts"
    over = ("in all" if parts == 1 else f"in {parts} parts") if ranks == 1 else f"over {ranks} ranks, {whose}"
    last = step == plan.steps - 1 and rows < plan.batch_size
    remedy = "set dropLast, or another batchSize" if last else "set a larger batchSize, or fewer numProcs"
    other = ("" if ranks == 1 else ", or syncBatchNorm") + ("" if parts == 1 else ", or fewer accumulationSteps")
    return f"step {step} has {rows} {'row' if rows == 1 else 'rows'} {over}, and batch norm needs two: {remedy}{other}"
