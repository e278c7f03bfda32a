"""Outputs and labels as torchmetrics wants them: probabilities beside class indices, numbers beside numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparkdl.train.config import TrainConfig

BINARY, MULTICLASS, MULTILABEL, REGRESSION = range(4)
STYLES = ("binary", "multiclass", "multilabel", "regression")
"""How torchmetrics calls the kinds of task, by their numbers above."""

LOGITS, LOG_PROBABILITIES, UNKNOWN = "logits", "log_probabilities", "unknown"

_LOGIT_LOSSES = ("cross_entropy", "bce_with_logits", nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)
_LOGIT_FUNCTIONS = (functional.cross_entropy, functional.binary_cross_entropy_with_logits)


def output_kind(config: TrainConfig, index: int) -> str:
    """Return what an output means, as far as its loss tells: logits, logarithms of probabilities, or unknown."""
    loss = config.losses[index] if index < len(config.losses) else config.losses[0]
    if isinstance(loss, str | type):
        if loss in _LOGIT_LOSSES:
            return LOGITS
        return LOG_PROBABILITIES if loss in ("nll", nn.NLLLoss) else UNKNOWN
    if isinstance(loss, nn.CrossEntropyLoss | nn.BCEWithLogitsLoss) or loss in _LOGIT_FUNCTIONS:
        return LOGITS
    if isinstance(loss, nn.NLLLoss) or loss is functional.nll_loss:
        return LOG_PROBABILITIES
    return LOGITS if config.task == "classification" else UNKNOWN


class MetricRows:
    """What the rows of one output look like, learned from the first of them.

    Parameters
    ----------
    kind : str
        As `output_kind` says it.
    ignored : int or None
        A class label that the loss ignores: metrics of classification are not given it.

    Attributes
    ----------
    known : bool
        Whether rows were seen, here or on another rank.
    style : int
        BINARY, MULTICLASS or MULTILABEL, of a classification metric.
    width : int
        Numbers of a row of the output.
    """

    def __init__(self, kind: str, ignored: int | None = None) -> None:
        self._kind = kind
        self._ignored = ignored
        self.known = False
        self.style = REGRESSION
        self.width = 0

    def look(self, output: Tensor, target: Tensor) -> None:
        """Learn style and width from (n, ...) rows."""
        if self.known:
            return
        width = 1 if output.dim() == 1 else int(output.shape[1])
        several = target.numel() == output.numel() and width > 1
        style = BINARY if width == 1 or (width == 2 and not several) else MULTILABEL if several else MULTICLASS
        self.settle(style, width)

    def settle(self, style: int, width: int) -> None:
        """Take what another rank has learned."""
        self.known, self.style, self.width = True, style, width

    def state_dict(self) -> list[int]:
        """Return what was learned of the rows."""
        return [int(self.known), self.style, self.width]

    def load_state_dict(self, saved: list[int]) -> None:
        """Take what `state_dict` has returned, if it knows something."""
        known, style, width = saved
        if known:
            self.settle(style, width)

    def rows_for(self, classification: bool, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and truths for a metric of classification or of regression."""
        if not classification:
            if target.numel() == output.numel():
                target = target.reshape(output.shape)
            flat = (-1,) if self.width == 1 else (len(output), -1)
            return output.reshape(flat).double(), target.reshape(flat).double()
        chances = self._probabilities(output)
        if self.style == MULTILABEL:
            return chances, target.reshape(output.shape).long()
        if self.style == BINARY:
            chances = chances.select(1, 1) if self.width == 2 else chances
            return self._counted(chances.reshape(-1), target.reshape(-1).long())
        return self._counted(chances, target.reshape(len(output), *output.shape[2:]).long())

    def _counted(self, chances: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out the labels that the loss ignores."""
        if self._ignored is None or not bool((ignored := truth == self._ignored).any()):
            return chances, truth
        if chances.dim() > truth.dim():
            chances = chances.movedim(1, -1)
        return chances[~ignored], truth[~ignored]

    def _probabilities(self, output: Tensor) -> Tensor:
        if self._kind == LOG_PROBABILITIES:
            return output.exp()
        if self._kind == UNKNOWN and bool(((output >= 0) & (output <= 1)).all()):
            return output
        return (
            torch.softmax(output, dim=1) if self.style in (BINARY, MULTICLASS) and self.width > 1 else output.sigmoid()
        )
