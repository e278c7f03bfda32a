from __future__ import annotations

import io
import re
import threading

import pytest

from sparkdl.events import (
    EpochEnded,
    Event,
    FitEnded,
    Listener,
    PhaseStarted,
    RankOutput,
    StepEnded,
    TrainingStarted,
    UserMessage,
)
from sparkdl.report.progress import PlainLines, progress_listener
from sparkdl.report.words import say_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def epoch(number: int, **more: float) -> EpochEnded:
    logs = {"epoch": number, "loss": 0.5 / number, "val_loss": 0.75, "lr": 1e-3, "rows": 1000}
    return EpochEnded(number, {**logs, "seconds": 2.0, "rows_per_second": 500.0, "wait_share": 0.1, **more})


def a_fit() -> list[Event]:
    return [
        PhaseStarted("check"),
        PhaseStarted("materialize"),
        PhaseStarted("wait", "1 of 2 is free"),
        PhaseStarted("start"),
        PhaseStarted("train"),
        TrainingStarted(2, 2, 10, 1000, "cpu"),
        StepEnded(1, 5, 10, 0.7, 480.0),
        UserMessage(0, "from the user"),
        RankOutput(1, "a line of rank 1"),
        epoch(1),
        StepEnded(2, 5, 10, 0.4, 510.0),
        epoch(2),
        PhaseStarted("build"),
        FitEnded({"train": 4.0}),
    ]


def play(listener: Listener, events: list[Event]) -> None:
    for event in events:
        listener.on_event(event)
    listener.close()


def test_silent_writes_nothing() -> None:
    stream = Terminal()
    play(progress_listener(0, stream), a_fit())
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_verbose_2_is_a_line_for_each_epoch(kind: type[io.StringIO]) -> None:
    stream = kind()
    play(progress_listener(2, stream), a_fit())
    assert stream.getvalue().splitlines() == [
        "writing rows",
        "waiting for task slots: 1 of 2 is free",
        "starting ranks",
        "training on 2 ranks (cpu): 2 x 10 steps, 1,000 rows an epoch",
        "[0] from the user",
        "[1] a line of rank 1",
        "epoch 1/2: loss 0.5, val_loss 0.75, 2.0 s, 500 rows/s",
        "epoch 2/2: loss 0.25, val_loss 0.75, 2.0 s, 500 rows/s",
        "building the model",
    ]


def test_without_a_terminal_steps_are_lines_at_most_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    listener = progress_listener(1, stream, clock)
    listener.on_event(TrainingStarted(1, 2, 100, 1000))
    for step in range(1, 101):
        clock.now += 0.5
        listener.on_event(StepEnded(1, step, 100, 0.5, 20.0))
    lines = stream.getvalue().splitlines()
    assert lines[1:] == [
        f"epoch 1/2, step {step}/100: loss 0.5, 20 rows/s, {say_time((200 - step) * 0.5)} left"
        for step in (20, 40, 60, 80, 100)
    ]


def test_time_left_of_a_resumed_fit_counts_from_where_it_went_on() -> None:
    stream, clock = io.StringIO(), Clock()
    listener = PlainLines(stream, steps=True, clock=clock)
    listener.on_event(TrainingStarted(1, 10, 100, 1000))
    clock.now = 60.0
    listener.on_event(StepEnded(9, 1, 100, 0.5, 20.0))
    clock.now = 109.0
    listener.on_event(StepEnded(9, 50, 100, 0.5, 20.0))
    (line,) = stream.getvalue().splitlines()[1:]
    assert line.endswith("2:30 left")


def drawn(stream: io.StringIO) -> str:
    """Return all that the terminal was sent, one state of the bar per line."""
    return stream.getvalue().replace("\r", "\n")


def test_the_bar_shows_epoch_step_loss_speed_and_time_left() -> None:
    stream = Terminal()
    play(progress_listener(1, stream), a_fit())
    states = drawn(stream)
    assert re.search(r"epoch 1/2 step 5/10 +25%\|.*\| 00:00, \S+ left, loss 0.7, 480 rows/s", states)
    assert re.search(r"epoch 2/2 step 5/10 +75%\|.*\| 00:00, 00:00 left, loss 0.4, 510 rows/s", states)
    assert re.search(r"epoch 2/2 +100%\|.*loss 0.25, val_loss 0.75", states)


def test_lines_do_not_tear_the_bar() -> None:
    stream = Terminal()
    play(progress_listener(1, stream), a_fit())
    for line in ("[0] from the user", "[1] a line of rank 1"):
        assert f"\r{line}\n" in stream.getvalue()


def test_the_device_is_said_once_and_phases_before_the_bar() -> None:
    stream = Terminal()
    play(progress_listener(1, stream), a_fit())
    text = drawn(stream)
    assert text.count("(cpu)") == 1
    for phase in ("writing rows", "waiting for task slots: 1 of 2 is free", "starting ranks"):
        assert text.index(phase) < text.index("epoch 1/2")


def test_a_failed_fit_ends_the_bar_with_its_sentence() -> None:
    stream = Terminal()
    play(progress_listener(1, stream), [*a_fit()[:7], FitEnded({}, "the loss is NaN in step 7")])
    assert "fit failed: the loss is NaN in step 7\n" in stream.getvalue()


def test_a_restart_draws_a_new_bar_that_goes_on_where_the_checkpoint_was() -> None:
    stream = Terminal()
    restart: list[Event] = [TrainingStarted(1, 2, 10, 1000, "cpu"), StepEnded(2, 5, 10, 0.4, 510.0)]
    play(progress_listener(1, stream), [*a_fit()[:10], *restart])
    assert re.search(r"epoch 2/2 step 5/10 +75%", drawn(stream))


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    play(progress_listener(1, Terminal()), a_fit())
    assert set(threading.enumerate()) == before


def test_a_fit_that_was_stopped_is_complete() -> None:
    stream = Terminal()
    events = [*a_fit()[:10], FitEnded({"train": 4.0}, None, 1, 1)]
    play(progress_listener(1, stream), events)
    states = drawn(stream)
    assert re.search(r"epoch 1/2 +100%\|[█#]+\| 00:00, 00:00 left, loss 0.5, val_loss 0.75", states)
    assert states.endswith("stopped after epoch 1\n")


@pytest.mark.parametrize("verbose", [1, 2])
def test_whole_lines_say_where_a_fit_was_stopped(verbose: int) -> None:
    stream = io.StringIO()
    play(progress_listener(verbose, stream), [*a_fit()[:13], FitEnded({}, None, 2, 1)])
    assert stream.getvalue().endswith("building the model\nweights of epoch 1\n")


def test_a_fit_of_a_search_is_named_and_leaves_no_bar() -> None:
    stream = Terminal()
    play(progress_listener(1, stream, title="fit 2 of 8 (epochs=2)", leave=False), a_fit())
    states = drawn(stream)
    assert "\nfit 2 of 8 (epochs=2): writing rows" in states
    assert re.search(r"fit 2 of 8 \(epochs=2\): epoch 2/2 +100%", states)
    left = [line for line in states.split("\n") if line.strip()][-1]
    assert left.startswith("fit 2 of 8"), "the last state"
    assert stream.getvalue().endswith(" \r"), "it was wiped out"


def test_a_fit_of_a_search_that_failed_stays() -> None:
    stream = Terminal()
    play(progress_listener(1, stream, title="fit 2 of 8", leave=False), [*a_fit()[:7], FitEnded({}, "no")])
    assert re.search(r"fit 2 of 8: epoch 1/2 step 5/10 +25%\|[^\n]*\nfit failed: no\n$", drawn(stream))


def test_whole_lines_begin_with_the_name_of_the_fit() -> None:
    stream = io.StringIO()
    play(progress_listener(2, stream, title="fit 2 of 8 (epochs=2)", leave=False), a_fit())
    assert stream.getvalue().splitlines()[:2] == ["fit 2 of 8 (epochs=2)", "writing rows"]
