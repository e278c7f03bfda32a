from __future__ import annotations

import os
import sys
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sparkdl.cluster.prefork.modules import foreign_module

PATH = [entry for entry in sys.path if entry]


def test_the_path_of_the_modules_themselves_has_no_other() -> None:
    assert foreign_module(PATH, PATH) is None
    assert foreign_module(["/no/such/folder", *PATH, *PATH], PATH) is None


@pytest.mark.parametrize("name", ["uuid", "numpy"])
def test_a_module_or_package_that_hides_one_is_named(name: str, tmp_path: Path) -> None:
    assert {uuid.__name__, np.__name__} <= sys.modules.keys()
    (tmp_path / "unknown_to_all.py").touch()
    assert foreign_module([str(tmp_path), *PATH], PATH) is None
    os.utime(tmp_path, ns=(0, 0))
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    assert foreign_module([str(tmp_path), *PATH], PATH) == name
    # Behind those that are found first it hides nothing.
    assert foreign_module([*PATH, str(tmp_path)], PATH) is None


def test_one_in_an_archive_hides_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("uuid.py", "")
    assert foreign_module([str(tmp_path / "code.zip"), *PATH], PATH) == "uuid"


def test_a_module_that_the_path_has_not_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_of_another_program.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_of_another_program

    assert foreign_module(sys.path, sys.path) is None
    assert foreign_module(PATH, sys.path) == "only_of_another_program"
    del sys.modules[only_of_another_program.__name__]


def test_a_folder_that_a_package_of_the_path_has_put_there_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendored = tmp_path / "package" / "_vendor"
    vendored.mkdir(parents=True)
    (vendored / "only_of_a_package.py").touch()
    monkeypatch.syspath_prepend(str(vendored))
    import only_of_a_package

    assert foreign_module([str(tmp_path), *PATH], sys.path) is None
    del sys.modules[only_of_a_package.__name__]


def test_what_an_interpreter_imports_at_its_start_counts(tmp_path: Path) -> None:
    (tmp_path / "usercustomize.py").touch()
    assert foreign_module([str(tmp_path), *PATH], PATH) == "usercustomize"
