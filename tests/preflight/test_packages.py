from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sparkdl
from sparkdl.errors import ClusterError
from sparkdl.preflight.packages import check_packages


def installed(folder: Path) -> None:
    """Write what pip notes of PyPI's sparkdl."""
    notes = folder / "sparkdl-0.2.2.dist-info"
    notes.mkdir(parents=True)
    (notes / "METADATA").write_text("Metadata-Version: 2.1\nName: sparkdl\nVersion: 0.2.2\n")
    (notes / "RECORD").write_text("sparkdl/__init__.py,,\n")


def test_files_of_two_packages_in_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sparkdl, "__file__", str(tmp_path / "sparkdl" / "__init__.py"))
    with pytest.raises(ClusterError, match=r"sparkdl 0\.2\.2, among those of sparkdl-torch: run pip uninstall sparkdl"):
        check_packages()


def test_another_sparkdl_elsewhere_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    check_packages()
