from __future__ import annotations

import pytest

from sparkdl.train.scaling import slower_than_one


@pytest.mark.parametrize(
    ("ranks", "seconds", "summing", "factor"), [(2, 4.0, 2.5, "1.6"), (4, 10.0, 9.0, "2.5"), (2, 4.1, 2.5, "1.6")]
)
def test_ranks_that_sum_longer_than_they_compute_are_told(
    ranks: int, seconds: float, summing: float, factor: str
) -> None:
    said = slower_than_one(ranks, 100, seconds, 0.1 if seconds == 4.1 else 0.0, 1.0, summing)
    assert said == f"{ranks} ranks take at least {factor} times as long as one would: raise batchSize or set numProcs=1"


@pytest.mark.parametrize(
    ("ranks", "steps", "seconds", "waited", "summing"),
    [
        (1, 100, 6.0, 0.0, 5.0),
        (2, 10, 6.0, 0.0, 5.0),
        (2, 100, 1.5, 0.0, 0.5),
        (2, 100, 2.1, 0.0, 1.1),
        (2, 100, 9.0, 3, 5),
    ],
)
def test_nothing_is_said_where_several_are_faster_or_nobody_knows(
    ranks: int, steps: int, seconds: float, waited: float, summing: float
) -> None:
    assert slower_than_one(ranks, steps, seconds, waited, 1.0, summing) is None
