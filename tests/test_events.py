from __future__ import annotations

import json

import pytest

from sparkdl.events import (
    EpochEnded,
    Event,
    FitEnded,
    Listener,
    Listeners,
    PhaseStarted,
    RankOutput,
    StepEnded,
    TrainingStarted,
    UserMessage,
    from_record,
    to_record,
)


@pytest.mark.parametrize(
    "event",
    [
        PhaseStarted("wait", "2 of 4 slots"),
        TrainingStarted(2, 3, 40, 10_000, "cuda"),
        StepEnded(1, 7, 40, 0.25, 1e4),
        EpochEnded(2, {"epoch": 2, "loss": 0.5}),
        RankOutput(1, "ä line", "stderr"),
        UserMessage(0, "hello"),
        FitEnded({"train": 1.5}, "ValueError: no"),
        FitEnded({"train": 1.5}, None, 7, 5),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_survives_the_wire(event: Event) -> None:
    assert from_record(json.loads(json.dumps(to_record(event)))) == event


class Recorder(Listener):
    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.heard: list[Event] = []
        self.closed = 0

    def on_event(self, event: Event) -> None:
        self.heard.append(event)
        if self.fails:
            raise OSError("no space left")

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("no space left")


def test_a_listener_that_fails_is_left_out_and_the_others_go_on() -> None:
    bad, good = Recorder(fails=True), Recorder()
    both = Listeners([bad, good])
    with pytest.warns(UserWarning, match=r"Recorder was left out after: OSError\('no space left'\)"):
        both.on_event(PhaseStarted("check"))
    both.on_event(PhaseStarted("train"))
    assert bad.heard == [PhaseStarted("check")]
    assert good.heard == [PhaseStarted("check"), PhaseStarted("train")]


def test_every_listener_is_closed_also_beside_one_that_cannot() -> None:
    bad, good = Recorder(fails=True), Recorder()
    with pytest.warns(UserWarning, match="did not close"):
        Listeners([bad, good]).close()
    assert (bad.closed, good.closed) == (1, 1)


def test_a_listener_left_out_is_closed_all_the_same() -> None:
    bad = Recorder(fails=True)
    both = Listeners([bad])
    with pytest.warns(UserWarning, match="left out"):
        both.on_event(PhaseStarted("check"))
    with pytest.warns(UserWarning, match="did not close"):
        both.close()
    assert bad.closed == 1
