"""The settings of checkpoints, as a rank gets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

AUTO, EXACT, NEVER = "auto", "exact", "never"
"""Values of the Param `resume`."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Where checkpoints lie, when they are taken, and which of them a training goes on from.

    Attributes
    ----------
    url : str
        Folder of the job: its name is made of what decides the result.
    named : str
        The setting and its value, for messages.
    options : mapping
        For fsspec.
    interval : int
        Epochs between two checkpoints at the end of one.
    steps : int or None
        Steps between two checkpoints.
    minutes : float or None
        Minutes between two checkpoints.
    keep : int
        The last ones that stay; the best one stays too.
    metric : str or None
        A column of the history by which one is the best.
    resume : str
        "auto": the last checkpoint in the folder; "exact": the same, refused where the training could not go on bit for
        bit; "never": only one of this fit, after a restart.
    run : str
        Marks the checkpoints of this fit.
    alone : bool
        Whether it is none of a search, whose fits are jobs beside each other.
    about : mapping
        JSON values that each checkpoint carries: rows, plan, network.
    constants : mapping of str to Tensor
        Tensors of the network that are not of its state, which each checkpoint carries too.
    """

    url: str
    named: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    interval: int = 1
    steps: int | None = None
    minutes: float | None = None
    keep: int = 3
    metric: str | None = None
    resume: str = AUTO
    run: str = ""
    alone: bool = True
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    constants: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
