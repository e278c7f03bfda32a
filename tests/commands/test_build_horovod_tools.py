"""What a build needs of the machine: found, or named with what brings it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sparkdl.commands import build_horovod_tools as tools
from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import (
    Pip,
    Uv,
    build_environment,
    find_installer,
    find_pip,
    probe_torch,
)


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of our own, with compilers, make and a cmake in it."""
    for name in ("c++", "cc", "make"):
        program(tmp_path / "bin" / name)
    program(tmp_path / "bin" / "cmake", "cmake version 3.25.1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("CC", "CXX", "MAKE", "HOROVOD_CMAKE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    return tmp_path / "bin"


def last_line(log: Log) -> str:
    return log.path.read_text().splitlines()[-1]


def no_pip() -> Pip:
    """A pip that cannot be started: nothing may be fetched."""
    return Pip(("no-such-pip",), private=True)


def test_the_build_sees_nothing_that_would_lead_it_astray(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", "/nonexistent")
    monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", "NCCL")
    monkeypatch.setenv("HOROVOD_WITH_TENSORFLOW", "1")
    monkeypatch.setenv("HOROVOD_BUILD_ARCH_FLAGS", "-mavx")
    monkeypatch.setenv("MAKEFLAGS", "-j3")
    environment = build_environment(no_pip(), tmp_path, Log(tmp_path / "log"))
    assert "CUDA_HOME" not in environment
    assert "HOROVOD_GPU_OPERATIONS" not in environment
    assert "HOROVOD_WITH_TENSORFLOW" not in environment
    assert environment["HOROVOD_BUILD_ARCH_FLAGS"] == "-mavx"
    assert environment["MAKEFLAGS"] == "-j3"
    assert environment["HOROVOD_CMAKE"] == str(machine / "cmake")


@pytest.mark.parametrize("version", ["3.10.2", "4.1.0"])
def test_a_cmake_of_another_age_is_not_used(machine: Path, tmp_path: Path, version: str) -> None:
    program(machine / "cmake", f"cmake version {version}")
    # So one is to be fetched, and this pip cannot.
    with pytest.raises(BuildError, match=r"pip install cmake>=3\.13,<4: no-such-pip cannot be started"):
        build_environment(no_pip(), tmp_path, Log(tmp_path / "log"))


def test_this_environment_has_a_torch(tmp_path: Path) -> None:
    import torch

    found = probe_torch()
    assert (found.version, found.cuda) == (torch.__version__, torch.version.cuda)
    assert (found.folder / "include" / "ATen" / "ATen.h").is_file()


def test_a_private_pip_is_made_where_the_environment_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    log = Log(tmp_path / "log")
    pip = find_pip(tmp_path, log)
    assert pip.private
    log.run([*pip.command, "--version"], "pip --version", 60)
    assert last_line(log).startswith("pip ")
    assert str(tmp_path / "pip") in last_line(log)


def test_uv_installs_a_kept_wheel_where_there_is_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    show = program(tmp_path / "bin" / "uv")
    show.write_text('#!/bin/sh\necho "$@"\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    log = Log(tmp_path / "log")
    installer = find_installer(tmp_path, log)
    assert isinstance(installer, Uv)
    installer.install(tmp_path / "horovod.whl", log)
    assert last_line(log).endswith(f"--reinstall-package horovod {tmp_path / 'horovod.whl'}")


def test_no_way_to_a_pip_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    monkeypatch.setenv("PATH", str(tmp_path))
    # Both that could have made one have failed: "false" says nothing, and so does this uv.
    program(tmp_path / "uv").write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(BuildError, match=r"pip is needed to fetch Horovod's source.*python3-venv.*status 1.*status 2"):
        find_pip(tmp_path, Log(tmp_path / "log"))


def test_pip_asks_the_index_that_uv_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = program(tmp_path / "pip")
    show.write_text('#!/bin/sh\necho "index=$PIP_INDEX_URL"\n')
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///mirror")
    log = Log(tmp_path / "log")
    Pip((str(show),), private=True).download("horovod==0.28.1", tmp_path / "sdist", log)
    assert last_line(log) == "index=file:///mirror"
