from __future__ import annotations

import pytest

from sparkdl.events import FitEnded, TrainingStarted
from sparkdl.report.words import say_end, say_time

PLAN = TrainingStarted(1, 20, 10, 1000)


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0:00"), (9.4, "0:09"), (750, "12:30"), (3723, "1:02:03")])
def test_say_time(seconds: float, text: str) -> None:
    assert say_time(seconds) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (FitEnded({}, None, 7, 5), "stopped after epoch 7, weights of epoch 5"),
        (FitEnded({}, None, 7, 7), "stopped after epoch 7"),
        (FitEnded({}, None, 7, None), "stopped after epoch 7"),
        (FitEnded({}, None, 20, 5), "weights of epoch 5"),
        (FitEnded({}, None, 20, 20), ""),
        (FitEnded({}, None, 20, None), ""),
        (FitEnded({}, "no room"), "fit failed: no room"),
    ],
)
def test_the_end_says_what_is_not_as_planned(event: FitEnded, text: str) -> None:
    assert say_end(event, PLAN) == text
