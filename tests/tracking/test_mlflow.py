from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sparkdl.errors import SettingError
from sparkdl.events import EpochEnded, FitEnded, StepEnded, TrainingStarted
from sparkdl.tracking.mlflow import Tracking, open_tracking

ROOT = Path(__file__).resolve().parents[2]


def opened(mode: str = "true", **params: object) -> Tracking:
    tracking = open_tracking(mode, params, "clf_1")
    assert tracking is not None
    return tracking


def run_of(tracking: Tracking) -> Run:
    return mlflow.MlflowClient().get_run(tracking.run_id)


def test_a_run_holds_params_metrics_of_each_epoch_and_phases(store: str) -> None:
    tracking = opened(epochs=2, storageOptions={"key": "hunter2"}, module="mlp")
    tracking.on_event(TrainingStarted(2, 2, 5, 100, "cpu"))
    for epoch, loss in ((1, 0.5), (2, 0.25)):
        tracking.on_event(StepEnded(epoch, 5, 5, 9.0, 100.0))
        tracking.on_event(EpochEnded(epoch, {"epoch": epoch, "loss": loss, "val_loss": float("nan")}))
    tracking.on_event(FitEnded({"train": 1.5}))
    tracking.close()
    tracking.close()

    run = run_of(tracking)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "clf_1"
    assert run.data.params == {"epochs": "2", "module": "mlp"}
    assert set(run.data.metrics) == {"loss", "val_loss", "seconds_train"}
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.25)]
    assert run.data.tags["sparkdl.ranks"] == "2"
    assert run.data.tags["sparkdl.device"] == "cpu"
    assert b"hunter2" not in Path(store.removeprefix("sqlite:///")).read_bytes()


def test_more_params_than_mlflow_takes_at_once(store: str) -> None:
    tracking = opened(**{f"p{i}": i for i in range(230)})
    tracking.close()
    assert len(run_of(tracking).data.params) == 230


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ValueError("no such column\nTraceback: ..."), "FAILED", "no such column"),
        (RuntimeError(), "FAILED", "RuntimeError"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
)
def test_a_failed_fit_ends_its_run_with_the_sentence(
    store: str, error: BaseException, status: str, sentence: str
) -> None:
    tracking = opened()
    tracking.fail(error)
    tracking.close()
    run = run_of(tracking)
    assert (run.info.status, run.data.tags["sparkdl.error"]) == (status, sentence)


def test_the_end_of_a_failed_fit_is_enough(store: str) -> None:
    tracking = opened()
    tracking.on_event(FitEnded({}, "the loss is NaN in step 3"))
    tracking.fail(RuntimeError("a secondary failure"))
    tracking.close()
    run = run_of(tracking)
    assert (run.info.status, run.data.tags["sparkdl.error"]) == ("FAILED", "the loss is NaN in step 3")


def test_odd_names_and_values_lose_no_metric(store: str) -> None:
    tracking = opened()
    logs = {"epoch": 1, "loss": 0.5, "<lambda>": 0.25, "lambda": 0.75, "recall@5": 1, "note": "text", "gone": None}
    tracking.on_event(EpochEnded(1, logs))
    tracking.on_event(EpochEnded(2, {"loss": 0.125}))
    tracking.close()
    metrics = run_of(tracking).data.metrics
    assert metrics == {"loss": 0.125, "lambda": 0.25, "lambda_2": 0.75, "recall_5": 1.0}


def test_what_was_missed_is_written_when_the_store_is_back(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = opened()
    away, log_batch = [True], mlflow.MlflowClient.log_batch

    def absent(*args: object, **kwargs: object) -> object:
        if away[0]:
            raise MlflowException("API request failed: connection refused")
        return log_batch(*args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", absent)
    tracking.on_event(TrainingStarted(2, 2, 5, 100, "cpu"))
    for epoch in (1, 2, 3):
        tracking.on_event(EpochEnded(epoch, {"loss": 1 / epoch}))
    away[0] = False
    tracking.close()
    history = mlflow.MlflowClient().get_metric_history(tracking.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    run = run_of(tracking)
    assert (run.info.status, run.data.tags["sparkdl.ranks"]) == ("FINISHED", "2")


def test_the_end_says_what_a_store_has_not_taken(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: object, **kwargs: object) -> object:
        raise MlflowException("API request failed: connection refused")

    monkeypatch.setattr("sparkdl.tracking.mlflow._PATIENCE", 0.1)
    monkeypatch.setattr("sparkdl.tracking.mlflow._AFTERWARDS", 0.1)
    tracking = opened()
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", absent)
    tracking.on_event(EpochEnded(1, {"loss": 0.5}))
    with pytest.warns(UserWarning, match=r"lacks 2 values, 2 are tried for 0.1 s more, .*connection refused"):
        tracking.close()


def test_a_failure_s_tag_says_the_cause_without_credentials(store: str) -> None:
    tracking = opened()
    tracking.fail(
        "An exception was thrown from the Python worker:\nTraceback (most recent call last):\n  File\n"
        "OSError: s3://bob:a/b+c@bucket is gone"
    )
    tracking.close()
    assert run_of(tracking).data.tags["sparkdl.error"] == "OSError: s3://***@bucket is gone"


def test_a_fit_is_a_child_of_the_active_run_and_leaves_it_active(store: str) -> None:
    with mlflow.start_run(experiment_id=mlflow.create_experiment("mine")) as parent:
        tracking = opened("auto")
        tracking.close()
        assert mlflow.active_run().info.run_id == parent.info.run_id
    run = run_of(tracking)
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.info.experiment_id == parent.info.experiment_id
    assert mlflow.active_run() is None


def test_fits_in_threads_have_runs_of_their_own_below_the_caller_s(store: str) -> None:
    def fit(number: int) -> Tracking:
        tracking = opened(number=number)
        for epoch in range(1, 6):
            tracking.on_event(EpochEnded(epoch, {"loss": float(number)}))
        tracking.close()
        return tracking

    with mlflow.start_run() as parent, ThreadPoolExecutor(3) as pool:
        trackings = list(pool.map(fit, range(6)))
    client = mlflow.MlflowClient()
    for number, tracking in enumerate(trackings):
        run = run_of(tracking)
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == {"number": str(number)}
        losses = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")]
        assert losses == [float(number)] * 5


def test_the_user_s_experiment_is_taken(store: str) -> None:
    experiment = mlflow.set_experiment("mine")
    tracking = opened("auto")
    tracking.close()
    assert run_of(tracking).info.experiment_id == experiment.experiment_id


def test_auto_without_mlflow_in_use_is_silent(untracked: None) -> None:
    assert open_tracking("auto", {}) is None
    assert open_tracking("false", {}) is None


def test_auto_does_not_import_mlflow_where_it_is_not_used() -> None:
    program = (
        "import sys; from sparkdl.tracking.mlflow import open_tracking;"
        "assert open_tracking('auto', {}) is None; assert 'mlflow' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    subprocess.run([sys.executable, "-c", program], check=True, env={**environment, "PYTHONPATH": str(ROOT)})


def test_true_without_mlflow_installed_names_the_command() -> None:
    # -S leaves site-packages out: no package but ours and the standard library.
    program = "from sparkdl.tracking.mlflow import open_tracking as o; print(o('auto', {})); o('true', {})"
    environment = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///x.db"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "None\n"
    assert done.stderr.splitlines()[-1] == (
        'sparkdl.errors.SettingError: mlflow="true" needs MLflow on the driver: pip install mlflow'
    )


def test_another_mode_is_refused() -> None:
    with pytest.raises(SettingError, match="mlflow='yes' is no mode of tracking: use one of auto, true, false"):
        open_tracking("yes", {})


def test_a_store_out_of_reach(monkeypatch: pytest.MonkeyPatch, untracked: None) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SettingError, match=r'MLflow has opened no run at http://127.0.0.1:9: .*set mlflow="false"'):
        open_tracking("true", {})
    with pytest.warns(UserWarning, match="this fit is not tracked"):
        assert open_tracking("auto", {}) is None
