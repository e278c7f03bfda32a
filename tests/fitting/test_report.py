from __future__ import annotations

import time

import pytest
from torch import nn

from sparkdl.events import EpochEnded, TrainingStarted
from sparkdl.fitting.report import FitReport, title_of
from sparkdl.params.stages import RegressorParams


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


def test_a_training_that_was_stopped_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with FitReport(RegressorParams(verbose=2, mlflow=False), 0.0, "fit 1 of 3", leave=False) as report:
        report.phase("start")
        report.on_event(TrainingStarted(1, 20, 10, 1000))
        report.trained(0.0, epochs=7, best_epoch=5)

    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "fit 1 of 3"
    assert shown[-1] == "stopped after epoch 7, weights of epoch 5"


def test_the_title_of_a_fit_has_no_secrets() -> None:
    stage = RegressorParams()
    varied = {
        stage.learningRate: 0.01,
        stage.module: nn.Linear(2, 1),
        stage.cacheUrl: "s3://user:hunter2@bucket/" + 100 * "x",
        stage.storageOptions: {"key": "hunter2"},
    }
    title = title_of("fold 2 of 3", (4, 8), varied)

    assert title == (
        "fold 2 of 3, fit 4 of 8 (learningRate=0.01, module=torch.nn.modules.linear.Linear, "
        "cacheUrl=s3://***@bucket/xxxxxxxxxxx...)"
    )
    assert title_of("", (4, 8), {}) == "fit 4 of 8"
    assert title_of("", None, {stage.epochs: 3}) == "epochs=3"
    assert title_of("", None, {}) == ""
