"""What a network asks of the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparkdl.errors import SettingError

if TYPE_CHECKING:
    from sparkdl.data.sampling.plan import Plan
    from sparkdl.params.stages import TrainingParams


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
    if not any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        return
    ranks = 1 if stage.getSyncBatchNorm() else stage.getNumProcs()
    # The shares rotate over the shards, so the first steps show every pattern of a full step.
    for step in sorted({*range(min(plan.steps, plan.canonical_shards)), plan.steps - 1}):
        shares = plan.shares(step)
        for rank in range(ranks):
            if sum(shares[rank::ranks]) == 1:
                raise SettingError(_lonely_row(plan, step, rank, ranks))


def _lonely_row(plan: Plan, step: int, rank: int, ranks: int) -> str:
    rows = plan.step_rows(step)
    over = "in all" if ranks == 1 else f"over {ranks} ranks, one of them for rank {rank}"
    last = step == plan.steps - 1 and rows < plan.batch_size
    remedy = "set dropLast, or another batchSize" if last else "set a larger batchSize, or fewer numProcs"
    other = "" if ranks == 1 else ", or syncBatchNorm"
    return f"step {step} has {rows} {'row' if rows == 1 else 'rows'} {over}, and batch norm needs two: {remedy}{other}"
