from __future__ import annotations

import pytest

from sparkdl.train.scaling import slower_than_one


@pytest.mark.parametrize(
    ("ranks", "computing", "summing", "other", "factor"),
    [(2, 1.0, 2.4, 0.5, "1.6"), (4, 1.0, 9.0, 0.0, "2.5")],
)
def test_ranks_that_sum_longer_than_they_compute_are_told(
    ranks: int, computing: float, summing: float, other: float, factor: str
) -> None:
    said = slower_than_one(ranks, 100, computing, summing, other, 0.0)
    assert said == f"{ranks} ranks take {factor} times as long as one would: raise batchSize or set numProcs=1"


@pytest.mark.parametrize(
    ("ranks", "steps", "summing", "wait_share"),
    [(1, 100, 5.0, 0.0), (2, 10, 5.0, 0.0), (2, 100, 0.5, 0.0), (2, 100, 1.1, 0.0), (2, 100, 5.0, 0.5)],
)
def test_nothing_is_said_where_several_are_faster_or_nobody_knows(
    ranks: int, steps: int, summing: float, wait_share: float
) -> None:
    assert slower_than_one(ranks, steps, 1.0, summing, 0.0, wait_share) is None
