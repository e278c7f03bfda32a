from __future__ import annotations

import time

import pytest

from sparkdl.fitting.report import FitReport
from sparkdl.params.stages import RegressorParams
from sparkdl.report.listener import EpochEnded


def test_phases_are_timed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with FitReport(RegressorParams(verbose=2, mlflow=False), 0.25) as report:
        report.phase("materialize")
        time.sleep(0.05)
        report.phase("check")
        report.phase("start")
        time.sleep(0.1)
        report.trained(0.04)
        report.on_event(EpochEnded(1, {"loss": 0.5}))
        report.phase("build")
    shown = capsys.readouterr().err

    assert list(report.seconds) == ["check", "materialize", "start", "train", "build"]
    assert 0.25 <= report.seconds["check"] < 0.5
    assert report.seconds["materialize"] >= 0.05
    assert report.seconds["train"] == 0.04
    assert report.seconds["start"] >= 0.05
    assert shown.splitlines() == ["writing rows", "starting ranks", "epoch 1: loss 0.5", "building the model"]


def test_an_error_is_told_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    report = FitReport(RegressorParams(verbose=1, mlflow=False), 0.0)

    def fail() -> None:
        with report:
            report.phase("start")
            raise ValueError("first line\nsecond line")

    with pytest.raises(ValueError, match="first line"):
        fail()
    assert capsys.readouterr().err.splitlines() == ["starting ranks", "fit failed: first line"]
    assert report.seconds["start"] >= 0


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with FitReport(RegressorParams(verbose=0, mlflow=False), 0.0) as report:
        report.phase("start")

    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_the_time_of_spooling_is_no_time_of_the_start() -> None:
    with FitReport(RegressorParams(verbose=0, mlflow=False), 0.0) as report:
        report.phase("start")
        time.sleep(0.1)
        report.trained(0.04, 0.05)

    assert list(report.seconds) == ["check", "start", "spool", "train"]
    assert (report.seconds["spool"], report.seconds["train"]) == (0.05, 0.04)
    assert 0.01 <= report.seconds["start"] < 0.5


def test_a_notice_comes_once_for_all_fits_and_not_from_a_silent_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = "said by test_report alone"
    for verbose in (0, 1, 2):
        with FitReport(RegressorParams(verbose=verbose, mlflow=False), 0.0) as report:
            report.notice(text)
            report.notice("")
    assert capsys.readouterr().err.splitlines() == [text]
