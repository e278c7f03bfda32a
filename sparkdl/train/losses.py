"""Losses by name, and what those of torch compare outputs with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn
from torch.nn import functional

from sparkdl.train.config import Named

LOSSES: dict[str, type[nn.Module]] = {
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "poisson": nn.PoissonNLLLoss,
}
"""What `loss` may name."""

CLASSES, NUMBERS = "classes", "numbers"
"""What a loss compares outputs with: the indices of classes, or numbers."""

CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
CLASS_FUNCTIONS = (functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss)
_NUMBER_LOSSES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.PoissonNLLLoss, nn.GaussianNLLLoss)
_NUMBER_FUNCTIONS = (
    functional.mse_loss,
    functional.l1_loss,
    functional.smooth_l1_loss,
    functional.huber_loss,
    functional.poisson_nll_loss,
    functional.gaussian_nll_loss,
)

PROBABILITY_LOSSES = (nn.BCELoss,)
PROBABILITY_FUNCTIONS = (functional.binary_cross_entropy,)
"""Losses that compare probabilities with what is true, and not logits."""


def takes_probabilities(loss: Named) -> bool:
    """Whether a loss of torch's, by whatever it is given, takes the probability of the class 1."""
    given: Any = loss.func if isinstance(loss, partial) else loss
    kind = given if isinstance(given, type) else type(given)
    return given in PROBABILITY_FUNCTIONS or issubclass(kind, PROBABILITY_LOSSES)


def compares(loss: Named) -> str:
    """Return `CLASSES` or `NUMBERS` for a loss of torch's, by whatever it is given; "" where it may be either."""
    given: Any = LOSSES.get(loss) if isinstance(loss, str) else loss
    kind = given if isinstance(given, type) else type(given)
    if given in CLASS_FUNCTIONS or issubclass(kind, CLASS_LOSSES):
        return CLASSES
    return NUMBERS if given in _NUMBER_FUNCTIONS or issubclass(kind, _NUMBER_LOSSES) else ""


def ignored_class(loss: Named, params: Mapping[str, Any]) -> int | None:
    """Return the label whose rows do not count for a loss of torch's; None where each of them does."""
    given: Any = LOSSES.get(loss) if isinstance(loss, str) else loss
    kind = given if isinstance(given, type) else type(given)
    if given in (functional.cross_entropy, functional.nll_loss) or issubclass(kind, nn.CrossEntropyLoss | nn.NLLLoss):
        return int(params.get("ignore_index", getattr(given, "ignore_index", -100)))
    return None


def range_of(loss: Named) -> tuple[float, float]:
    """Return the least and the greatest number that a loss can learn; infinite where nobody can tell."""
    given: Any = LOSSES.get(loss) if isinstance(loss, str) else loss
    kind = given if isinstance(given, type) else type(given)
    if given is functional.binary_cross_entropy_with_logits or issubclass(kind, nn.BCEWithLogitsLoss):
        return 0.0, 1.0
    counts = given is functional.poisson_nll_loss or issubclass(kind, nn.PoissonNLLLoss)
    return (0.0 if counts else -math.inf), math.inf
