from __future__ import annotations

import math
from typing import Any

import pytest
from torch import nn
from torch.nn import functional

from sparkdl.train.losses import CLASSES, LOSSES, NUMBERS, compares, range_of


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        ("cross_entropy", CLASSES),
        (nn.NLLLoss, CLASSES),
        (nn.CrossEntropyLoss(), CLASSES),
        (functional.cross_entropy, CLASSES),
        ("poisson", NUMBERS),
        (nn.SmoothL1Loss, NUMBERS),
        (nn.MSELoss(), NUMBERS),
        (functional.mse_loss, NUMBERS),
        ("bce_with_logits", ""),
        ("no such", ""),
        (nn.BCELoss, ""),
        (max, ""),
    ],
)
def test_what_a_loss_compares(loss: Any, what: str) -> None:
    assert compares(loss) == what


def test_the_numbers_that_a_loss_can_learn() -> None:
    for loss in ("bce_with_logits", nn.BCEWithLogitsLoss, functional.binary_cross_entropy_with_logits):
        assert range_of(loss) == (0, 1)
    assert range_of(nn.PoissonNLLLoss()) == (0, math.inf)
    assert {name for name in LOSSES if range_of(name) != (-math.inf, math.inf)} == {"bce_with_logits", "poisson"}
    assert range_of(max) == (-math.inf, math.inf)
