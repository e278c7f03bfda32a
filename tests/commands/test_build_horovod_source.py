"""The changes to Horovod's source: made exactly, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_source import changes, patch
from sparkdl.commands.build_horovod_steps import BuildError

CHANGES = changes(20)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree in which every text that is to be replaced stands once, between others."""
    for file in {change.file for change in CHANGES}:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before\n" + "\n".join(c.old for c in CHANGES if c.file == file) + "\nafter\n")
    return tmp_path


def test_every_change_is_made_and_nothing_else(source: Path) -> None:
    patch(source, 20)
    for file in {change.file for change in CHANGES}:
        expected = "before\n" + "\n".join(c.new for c in CHANGES if c.file == file) + "\nafter\n"
        assert (source / file).read_text() == expected


def test_a_source_that_was_changed_already_is_refused(source: Path) -> None:
    patch(source, 20)
    with pytest.raises(BuildError, match=r"CMakeLists.txt of this Horovod source has 0 times"):
        patch(source, 20)


@pytest.mark.parametrize("index", range(len(CHANGES)))
def test_a_text_that_is_there_twice_is_refused(source: Path, index: int) -> None:
    change = CHANGES[index]
    path = source / change.file
    path.write_text(path.read_text() + change.old)
    with pytest.raises(BuildError, match=r"has 2 times .* where 0\.28\.1 has it once"):
        patch(source, 20)


def test_a_missing_file_is_refused(source: Path) -> None:
    (source / "setup.py").unlink()
    with pytest.raises(BuildError, match=r"setup\.py of this Horovod source has 0 times"):
        patch(source, 20)


def test_the_standard_is_that_of_torch(source: Path) -> None:
    patch(source, 23)
    for file in ("CMakeLists.txt", "horovod/torch/CMakeLists.txt"):
        assert "set(CMAKE_CXX_STANDARD 23)" in (source / file).read_text()
