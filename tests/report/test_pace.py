from __future__ import annotations

from sparkdl.report.pace import Pace


def test_the_time_left_counts_from_the_first_step_that_was_seen() -> None:
    now = [60.0]
    pace = Pace(lambda: now[0])
    assert pace.seconds_left(801, 1000) is None
    now[0] = 109.0
    assert pace.seconds_left(850, 1000) == 150.0
    assert pace.seconds_left(1000, 1000) == 0.0
