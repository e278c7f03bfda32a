"""A tracking store for each test that asks for one, and MLflow's global state as it was afterwards."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest


@pytest.fixture
def untracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow as nobody has set it up, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        # Set first, so that what MLflow itself sets in the test is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs; making its tables takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    # The artifacts of the default experiment lie where the process is when the tables are made.
    with contextlib.chdir(folder):
        mlflow.MlflowClient(f"sqlite:///{folder / 'empty.db'}").search_experiments()
    return folder / "empty.db"


@pytest.fixture
def store(tmp_path: Path, untracked: None, empty_store: Path) -> str:
    """A SQLite file as the tracking store that is set."""
    path = shutil.copy(empty_store, tmp_path / "tracking.db")
    uri = f"sqlite:///{path}"
    mlflow.set_tracking_uri(uri)
    return uri
