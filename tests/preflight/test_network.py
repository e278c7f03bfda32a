from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import NetworkError, SettingError
from sparkdl.network import check
from sparkdl.params.stages import RegressorParams
from sparkdl.preflight.network import check_batch, check_logits, check_steps
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

SCHEMA = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (2,)),))
NORM = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_batch_norm_needs_two_rows_on_a_rank() -> None:
    def plan(rows: int, batch: int, shards: int = 2, **more: Any) -> Plan:
        return Plan(((rows,),), batch, canonical_shards=shards, **more)

    two, one = RegressorParams(numProcs=2), RegressorParams()
    check_steps(two, NORM, plan(16, 4))
    check_steps(one, NORM, plan(18, 8))
    check_steps(one, NORM, plan(17, 8, drop_last=True))
    check_steps(RegressorParams(numProcs=2, syncBatchNorm=True), NORM, plan(18, 8))
    with pytest.raises(SettingError, match=r"step 0 has 3 rows over 2 ranks, one of them for rank 1.*syncBatchNorm"):
        check_steps(two, NORM, plan(12, 3))
    with pytest.raises(SettingError, match=r"step 2 has 2 rows over 2 ranks.*set dropLast"):
        check_steps(two, NORM, plan(18, 8))
    with pytest.raises(SettingError, match=r"step 2 has 1 row in all, and batch norm needs two: set dropLast"):
        check_steps(one, NORM, plan(17, 8))
    with pytest.raises(SettingError, match="over 3 ranks"):
        check_steps(RegressorParams(numProcs=3), NORM, plan(64, 4, shards=8))


class Squashed(nn.Module):
    """Ends in a call, and in a view of what it returns."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(x)).squeeze(1)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), "Sequential ends in a sigmoid.*every row would be of class 1"),
        (Squashed(1), "Squashed ends in a sigmoid.*every row would be of class 1; leave the sigmoid out"),
        (Squashed(3), "Squashed ends in a sigmoid.*its probabilities are all alike; leave the sigmoid out$"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softmax(1)), "ends in a softmax.* leave the softmax out or make it a log_s"),
    ],
)
def test_a_classifiers_network_returns_logits(network: nn.Module, said: str) -> None:
    shapes = check(network, SCHEMA)
    if math.prod(shapes[0]) == 1:
        with pytest.raises(NetworkError, match=said):
            check_logits(network, SCHEMA, shapes)
    else:
        with pytest.warns(UserWarning, match=said):
            check_logits(network, SCHEMA, shapes)


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(2, 3),
        nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax(1)),
        nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()).requires_grad_(False),
    ],
)
def test_logits_are_taken_as_they_are(network: nn.Module, recwarn: pytest.WarningsRecorder) -> None:
    check_logits(network, SCHEMA, check(network, SCHEMA))
    assert not recwarn.list


def test_networks_without_batch_norm_take_any_step() -> None:
    check_steps(RegressorParams(numProcs=2), nn.Linear(2, 3), Plan(((17,),), 3, canonical_shards=2))


def test_an_epoch_has_a_step() -> None:
    plan = Plan(((7,),), 8, drop_last=True)
    with pytest.raises(SettingError, match="dropLast leaves out the only step: 7 rows are fewer than batchSize=8"):
        check_steps(RegressorParams(), nn.Linear(2, 3), plan)


def test_parts_of_a_share_need_two_rows() -> None:
    parts = RegressorParams(accumulationSteps=4)
    check_steps(parts, NORM, Plan(((64,),), 8, canonical_shards=2))
    # The last step is computed in fewer parts.
    check_steps(parts, NORM, Plan(((66,),), 8, canonical_shards=2))
    with pytest.raises(SettingError, match="step 8 has 1 row in all, and batch norm needs two: set dropLast"):
        check_steps(parts, NORM, Plan(((65,),), 8, canonical_shards=2))
    with pytest.raises(
        SettingError, match=r"step 0 has 7 rows in 4 parts, and batch norm needs two.*accumulationSteps"
    ):
        check_steps(parts, NORM, Plan(((63,),), 7, canonical_shards=2))
    with pytest.raises(SettingError, match=r"step 0 has 8 rows over 2 ranks, 4 of them for rank 0 in 4 parts"):
        check_steps(RegressorParams(numProcs=2, accumulationSteps=4), NORM, Plan(((64,),), 8, canonical_shards=2))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"batchSize": 1},
            "batchSize=1 gives a rank a single row, and batch norm needs two: set batchSize to 2 or more",
        ),
        ({"batchSize": 3, "numProcs": 2}, "set batchSize to 4 or more, or fewer numProcs, or syncBatchNorm"),
        ({"batchSize": 7, "accumulationSteps": 4}, "gives a part of the share of a rank.*, or fewer accumulationSteps"),
        ({"batchSize": 1, "numProcs": 2, "syncBatchNorm": True}, "batchSize=1 gives a rank a single row"),
    ],
)
def test_a_batch_that_is_too_small_whatever_rows_there_are(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_batch(RegressorParams(**settings), NORM)
    check_batch(RegressorParams(**settings), nn.Linear(2, 1))


def test_a_batch_that_is_large_enough_for_some_rows() -> None:
    for settings in ({"batchSize": 4, "numProcs": 2}, {"batchSize": 2, "numProcs": 2, "syncBatchNorm": True}):
        check_batch(RegressorParams(**settings), NORM)
