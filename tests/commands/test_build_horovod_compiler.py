"""The C++ standard is torch's own word; what compiles it is tried before anything is built."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_compiler import NEWEST, cxx_standard, require_tools
from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import Torch, probe_torch


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def torch_with(folder: Path, header: str) -> Torch:
    path = folder / "include" / "ATen" / "ATen.h"
    path.parent.mkdir(parents=True)
    path.write_text(f"#pragma once\n{header}\n#include <ATen/Context.h>\n")
    return Torch("2.99.0", None, folder)


@pytest.mark.parametrize(
    ("header", "standard"),
    [
        # torch 2.0, which compiles as C++17 too; 2.1 to 2.14; 2.15; one of a later year
        ("#if !defined(_MSC_VER) && __cplusplus < 201402L", 17),
        ("#if !defined(_MSC_VER) && __cplusplus < 201703L", 17),
        (
            "#if (_MSVC_LANG < 202002L) || \\\n    (!defined(_MSVC_LANG) && __cplusplus < 202002L)",
            20,
        ),
        ("#if __cplusplus < 202302L", 23),
        ("static_assert(c10::compiler_is_new_enough);", NEWEST),
    ],
)
def test_torchs_headers_say_which_standard(tmp_path: Path, header: str, standard: int) -> None:
    assert cxx_standard(torch_with(tmp_path, header)) == standard


def test_a_torch_without_headers_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"torch 2\.99\.0 is installed without its C\+\+ headers, .*ATen\.h does not"):
        cxx_standard(Torch("2.99.0", None, tmp_path))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of our own, with compilers and make in it."""
    for name in ("c++", "cc", "make"):
        program(tmp_path / "bin" / name, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("CC", "CXX", "MAKE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "bin"


def require(tmp_path: Path, torch: Torch | None = None, standard: int = 20) -> None:
    require_tools(torch or Torch("2.99.0", None), standard, tmp_path, Log(tmp_path / "log"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c++", r"a C\+\+ compiler is needed and c\+\+ or g\+\+ or clang\+\+ is not on PATH.*apt-get install g\+\+"),
        ("cc", "a C compiler is needed"),
        ("make", "make is needed and make is not on PATH"),
    ],
)
def test_a_missing_program_is_named_with_its_package(machine: Path, tmp_path: Path, name: str, message: str) -> None:
    (machine / name).unlink()
    with pytest.raises(BuildError, match=message):
        require(tmp_path)


def test_a_chosen_compiler_that_is_not_there_is_named(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "g++-99 -m64")
    with pytest.raises(BuildError, match=r"g\+\+-99 is not on PATH"):
        require(tmp_path)


def test_missing_headers_are_named(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path / "include")})
    with pytest.raises(BuildError, match=r"include/Python\.h does not exist.*apt-get install python3"):
        require(tmp_path)


def test_an_old_compiler_is_told_by_its_own_words(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "g++-8", "echo \"g++-8: error: unrecognized command line option '$2'\" >&2; exit 1")
    monkeypatch.setenv("CXX", "g++-8 -m64")
    with pytest.raises(BuildError) as caught:
        require(tmp_path)
    assert str(caught.value) == (
        "compiling as C++20 by g++-8 -m64 failed, g++-8: error: unrecognized command line option '-std=c++20': "
        "choose a newer compiler by CXX and CC (GCC 11 or later, Clang 14 or later); "
        f"the whole output is in {tmp_path}/log"
    )


def test_this_machine_compiles_this_torch_and_not_by_an_older_standard(tmp_path: Path) -> None:
    torch = probe_torch()
    require(tmp_path, torch, cxx_standard(torch))
    with pytest.raises(BuildError, match=r"compiling as C\+\+11 by \S+ failed, .*error: "):
        require(tmp_path, torch, 11)
