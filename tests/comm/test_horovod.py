from __future__ import annotations

import pytest

from sparkdl.comm.horovod import cycle_milliseconds


@pytest.mark.parametrize(
    ("step_seconds", "cycle"), [(0.0, 0.3), (0.0001, 0.3), (0.01, 1.0), (0.09, 3.0), (0.16, 4.0), (60.0, 10.0)]
)
def test_the_longer_a_step_computes_the_longer_is_a_cycle(step_seconds, cycle):
    assert cycle_milliseconds(step_seconds) == pytest.approx(cycle)
