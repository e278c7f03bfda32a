"""Leases that are held, renewed, given back and outlived."""

from __future__ import annotations

import time
from pathlib import Path

import fsspec
import pytest

from sparkdl.storage import leases


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    url = f"memory://leases{tmp_path}"
    fsspec.filesystem("memory").makedirs(url)
    return url


def test_the_last_lease_counts(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leases.held_until(folder) == 0
    leases.hold(folder, "a")
    first = leases.held_until(folder)
    assert first == pytest.approx(time.time() + leases.SECONDS, abs=60)
    monkeypatch.setattr(leases, "SECONDS", 2 * leases.SECONDS)
    leases.hold(folder, "b")
    assert leases.held_until(folder) > first
    leases.release(folder, "b")
    assert leases.held_until(folder) == first
    leases.hold(folder, leases.holder_of(leases.name_of("a")))
    assert leases.held_until(folder) > first
    leases.release(folder, "a")
    leases.release(folder, "a")
    assert leases.held_until(folder) == 0


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert leases.held_until(str(tmp_path / "none")) == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"until": "x"}', '{"until": NaN}', '{"until": Infinity}', '{"until": 1e300}', "[" * 9000],
)
def test_a_damaged_lease_has_ended_until_it_is_renewed(text: str, tmp_path: Path) -> None:
    leases.hold(str(tmp_path), "a")
    (tmp_path / leases.name_of("a")).write_text(text)
    assert leases.ends(str(tmp_path)) == {"a": 0.0}
    leases.hold(str(tmp_path), "a")
    assert leases.held_until(str(tmp_path)) > time.time()
