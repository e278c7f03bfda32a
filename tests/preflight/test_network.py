from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from sparkdl.data.sampling.plan import Plan
from sparkdl.errors import SettingError
from sparkdl.params.stages import RegressorParams
from sparkdl.preflight.network import check_steps

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


def test_networks_without_batch_norm_take_any_step() -> None:
    check_steps(RegressorParams(numProcs=2), nn.Linear(2, 3), Plan(((17,),), 3, canonical_shards=2))


def test_an_epoch_has_a_step() -> None:
    plan = Plan(((7,),), 8, drop_last=True)
    with pytest.raises(SettingError, match="dropLast leaves out the only step: 7 rows are fewer than batchSize=8"):
        check_steps(RegressorParams(), nn.Linear(2, 3), plan)
