"""The compiler: which C++ it has to know for this torch, and whether it does, before anything is built."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from sparkdl.commands.build_horovod_steps import BuildError, Log, step
from sparkdl.commands.build_horovod_tools import Torch

OLDEST, NEWEST = 17, 20
"""C++ standards of the torch versions that are known: 17 from 2.1 on, 20 from 2.15 on."""
COMPILE_SECONDS = 300.0

# torch's own check of the compiler: "#if ... __cplusplus < 202002L".
_CHECK = re.compile(r"__cplusplus\s*<\s*20(\d\d)\d\dL")
# Small beside torch/extension.h, and it uses what a torch for C++20 needs of the standard library.
_PROGRAM = "#include <c10/core/TensorImpl.h>\nint main() { return 0; }\n"
_PROGRAMS = {
    "CXX": ("a C++ compiler", ("c++", "g++", "clang++"), "g++"),
    "CC": ("a C compiler", ("cc", "gcc", "clang"), "gcc"),
    "MAKE": ("make", ("make",), "make"),
}


def cxx_standard(torch: Torch) -> int:
    """Return the C++ standard that torch's headers ask for, as 17 or 20: they say so themselves.

    One that says it no longer, or in other words, is newer than this command and gets the newest standard known.

    Raises
    ------
    BuildError
        When this torch has no headers.
    """
    header = torch.folder / "include" / "ATen" / "ATen.h"
    if not header.is_file():
        raise BuildError(
            f"torch {torch.version} is installed without its C++ headers, {header} does not exist: "
            "install torch from the package index"
        )
    asked = [int(year) for year in _CHECK.findall(header.read_text(errors="replace"))]
    return max(OLDEST, *asked) if asked else NEWEST


def require_tools(torch: Torch, standard: int, work: Path, log: Log) -> None:
    """Look for what only the system can bring, and try the C++ compiler on one of torch's headers.

    Raises
    ------
    BuildError
        Naming what is missing and what brings it.
    """
    with step("look for compilers, make and Python's headers"):
        found = {variable: _find(variable) for variable in _PROGRAMS}
        _require_headers()
    with step(f"compile two lines with a header of torch {torch.version}, as C++{standard}"):
        _try_compiler(found["CXX"], torch, standard, work, log)


def _find(variable: str) -> str:
    what, names, package = _PROGRAMS[variable]
    chosen = os.environ.get(variable)
    wanted = (shlex.split(chosen)[0],) if chosen and chosen.strip() else names
    for name in wanted:
        if shutil.which(name):
            return chosen if chosen and chosen.strip() else name
    raise BuildError(
        f"{what} is needed and {' or '.join(wanted)} is not on PATH: install it (Debian and Ubuntu: "
        f"'apt-get install {package}', Red Hat: 'dnf install {package.replace('g++', 'gcc-c++')}')"
    )


def _require_headers() -> None:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BuildError(
            f"Python's headers are needed and {header} does not exist: install them (Debian and Ubuntu: "
            f"'apt-get install python{version}-dev'), or use a Python that has them"
        )


def _try_compiler(compiler: str, torch: Torch, standard: int, work: Path, log: Log) -> None:
    program = work / "try.cc"
    program.write_text(_PROGRAM)
    command = [*shlex.split(compiler), f"-std=c++{standard}", "-fsyntax-only", f"-I{torch.folder / 'include'}"]
    log.run([*command, program.name], f"compiling as C++{standard} by {compiler}", COMPILE_SECONDS, cwd=work)
