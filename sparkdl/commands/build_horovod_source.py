"""Horovod's source: taken from the package index, and changed where today's torch needs it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import Pip

VERSION = "0.28.1"


@dataclass(frozen=True)
class Change:
    """One replacement in one file; `old` has to be there, exactly once."""

    file: str
    old: str
    new: str


def changes(standard: int) -> tuple[Change, ...]:
    """Return the changes for a torch that asks for this C++ standard."""
    cxx = ("set(CMAKE_CXX_STANDARD 14)", f"set(CMAKE_CXX_STANDARD {standard})")
    return (Change("CMakeLists.txt", *cxx), Change("horovod/torch/CMakeLists.txt", *cxx), *_CHANGES)


_CHANGES = (
    # What the package needs at run time would be installed for the build too, by a pip that uv's environments
    # do not have.
    Change("setup.py", "setup_requires=require_list if is_build_action() else [],", ""),
    # Python 3.12 has no distutils.
    Change(
        "horovod/torch/CMakeLists.txt",
        "from distutils.sysconfig import get_python_inc; print(get_python_inc())",
        "from sysconfig import get_paths; print(get_paths()['include'])",
    ),
    # A CPU wheel must not become half a GPU wheel because a CUDA toolkit lies about: cmake looks for one on its
    # own, torch.utils.cpp_extension too, and CUDA_HOME counts even where it names nothing.
    Change(
        "CMakeLists.txt",
        "check_language(CUDA)\nif(NOT CMAKE_CUDA_COMPILER)\n    find_package(CUDAToolkit)\n",
        "if(DEFINED ENV{HOROVOD_GPU_OPERATIONS})\n    check_language(CUDA)\nendif()\n"
        "if(DEFINED ENV{HOROVOD_GPU_OPERATIONS} AND NOT CMAKE_CUDA_COMPILER)\n    find_package(CUDAToolkit)\n",
    ),
    Change(
        "cmake/Modules/FindPytorch.cmake",
        'string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)\n',
        'string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)\n'
        "if(NOT DEFINED ENV{HOROVOD_GPU_OPERATIONS})\n    set(Pytorch_CUDA FALSE)\nendif()\n",
    ),
)


def fetch(pip: Pip, work: Path, log: Log) -> Path:
    """Download the sdist into `work` and unpack it; return the folder with its ``setup.py``."""
    folder = work / "sdist"
    pip.download(f"horovod=={VERSION}", folder, log)
    archives = list(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        names = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise BuildError(f"pip brought {names} instead of the source of Horovod {VERSION}")
    shutil.unpack_archive(archives[0], work / "source", filter="data")
    return work / "source" / archives[0].name.removesuffix(".tar.gz")


def patch(source: Path, standard: int) -> None:
    """Make the changes for a torch that asks for this C++ standard.

    Raises
    ------
    BuildError
        When the text to be replaced is not there exactly once: this is not the source that they were made for.
    """
    for change in changes(standard):
        path = source / change.file
        text = path.read_text() if path.exists() else ""
        if text.count(change.old) != 1:
            line = change.old.splitlines()[0]
            raise BuildError(
                f"{change.file} of this Horovod source has {text.count(change.old)} times {line!r} where "
                f"{VERSION} has it once: it is another version, or was changed already"
            )
        path.write_text(text.replace(change.old, change.new))
