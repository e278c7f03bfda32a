"""What is known of a fit: before its rows are written, and before its ranks start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparkdl.params.secrets import reveal

if TYPE_CHECKING:
    from torch import nn

    from sparkdl.fitting.shared_dataset import RowsWanted
    from sparkdl.network import Network
    from sparkdl.params.stages import TrainingParams
    from sparkdl.preflight.backend import Chosen
    from sparkdl.preflight.dry_run import Shapes
    from sparkdl.schema import DataSchema
    from sparkdl.spark.facts import SessionFacts
    from sparkdl.train.config import TrainConfig

_SENT = (
    *("loss", "lossParams", "metrics", "optimizer", "optimizerParams"),
    *("lrSchedule", "lrScheduleParams", "callbacks"),
)


@dataclass(frozen=True)
class Foreseen:
    """What settings, columns and their metadata tell.

    Attributes
    ----------
    wanted : RowsWanted
        Which rows are needed.
    module : nn.Module or None
        The network, where it can be made without the rows.
    outputs : tuple of tuple of int, or None
        Shape of one row of each of its outputs, where that is known.
    """

    wanted: RowsWanted
    module: nn.Module | None
    outputs: Shapes | None


@dataclass(frozen=True)
class Checked:
    """What settings, columns and cluster have told before rows are written.

    Attributes
    ----------
    facts : SessionFacts
    rows : RowsWanted
    backend : Chosen
    seconds : float
        That the checks took.
    """

    facts: SessionFacts
    rows: RowsWanted
    backend: Chosen
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """All that is known before ranks start.

    Attributes
    ----------
    network : Network
        With its first weights.
    config : TrainConfig
    schema : DataSchema
        With every shape known.
    outputs : tuple of tuple of int
        Shape of one row of each output of the network.
    work : dict
        Arguments of `sparkdl.worker.fit`.
    """

    network: Network
    config: TrainConfig
    schema: DataSchema
    outputs: Shapes
    work: dict[str, Any]


def sent_to_ranks(stage: TrainingParams, module: nn.Module | None) -> dict[str, Any]:
    """Return what of the user's goes to the ranks as it is, by its Param."""
    params = {name: reveal(stage.getOrDefault(name)) for name in _SENT if stage.isDefined(name)}
    return params if module is None else {"module": module, **params}
