"""Stages in a mount of Databricks, which no JVM opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparkdl import TorchEstimator
from sparkdl.errors import PersistenceError
from sparkdl.persistence import places
from sparkdl.persistence.stage import write_stage
from sparkdl.storage import urls


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this host has for a mount."""
    monkeypatch.setattr(urls, "MOUNTS", (str(tmp_path),))
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    return tmp_path


def test_a_stage_goes_into_a_mount_and_comes_back(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("source")
    write_stage(TorchEstimator(epochs=3), source)
    target = volume / "models" / "one"
    none: object = None
    assert not places.exists(none, str(target))  # type: ignore[arg-type]
    for _ in range(2):
        places.upload(none, source, str(target), last="metadata")  # type: ignore[arg-type]
        (target / "old").touch()
    places.upload(none, source, str(target), last="metadata")  # type: ignore[arg-type]
    assert places.exists(none, str(target))  # type: ignore[arg-type]
    assert not (target / "old").exists()
    with places.downloaded(none, str(target)) as folder:  # type: ignore[arg-type]
        assert (folder / "metadata" / "part-00000").read_text() == (source / "metadata" / "part-00000").read_text()
    with pytest.raises(PersistenceError, match="two: there is nothing to load"):
        with places.downloaded(none, str(volume / "two")):  # type: ignore[arg-type]
            pass


def test_what_cannot_be_written_is_named(volume: Path) -> None:
    (volume / "file").touch()
    with pytest.raises(PersistenceError, match="file/x cannot be written: Not a directory"):
        places.upload(None, volume, str(volume / "file" / "x"), last="metadata")  # type: ignore[arg-type]
