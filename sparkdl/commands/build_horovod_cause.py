"""Why a command has failed: the first error in its output and what helps, instead of the traceback it ends with."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

LENGTH = 300
"""Characters of an error that are repeated."""

# What compilers, linkers, cmake, pip and uv begin an error with.
_ERROR = re.compile(
    r"\berror: |: Error: |^ERROR: |^CMake Error|nvcc fatal|undefined reference to|cannot find -l"
    r"|: No space left on device|^The virtual environment was not created"
)
# Lines that only say that something else has failed.
_CONSEQUENCE = re.compile(
    r"subprocess-exited-with-error|metadata-generation-failed|collect2: error|error: command .* failed|Failed to build"
)
_UNREACHABLE = re.compile(r"connection broken by '(.*?)'?(: /\S*)?$")

_REMEDIES = (
    (
        r"C\+\+\d\d or later|option '?-std=|in '-std=|CXX_STANDARD|CXX_EXTENSIONS",
        "choose a newer compiler by CXX and CC (GCC 11 or later, Clang 14 or later)",
    ),
    (r"command.line option|unknown argument", "see what CXXFLAGS, CFLAGS and HOROVOD_BUILD_ARCH_FLAGS say"),
    (r"unsupported (GNU|clang) version", "choose an older compiler by CXX and CC"),
    (r"Unsupported gpu architecture", "name the compute capabilities of your GPUs in HOROVOD_BUILD_CUDA_CC_LIST"),
    (r"[Kk]illed|[Cc]annot allocate memory", "memory was short, set MAKEFLAGS=-j1 or give this machine more"),
    (r"No space left|quota exceeded", "make room there, or choose other disks by --cache-dir and TMPDIR"),
    (r"Permission denied|Read-only file system", "run it as the owner of that place"),
    (r"Python\.h", "install Python's headers (Debian and Ubuntu: the package python3-dev)"),
    (r"(fatal error|file not found).*\.h\b|\.h(pp)?: No such file", "install the package that brings this header"),
    (r"cannot find -l|cannot open shared object", "install the package that brings this library"),
    (r"internal compiler error", "choose another compiler by CXX and CC, or set MAKEFLAGS=-j1"),
    (r"NewConnectionError|Timeout|SSL|[Pp]roxy|resolution", "see to the network, the proxy and pip's settings"),
    (r"[Nn]o matching distribution|Could not find a version|No solution found", "choose a package index that has it"),
    (r"externally-managed", "use a virtual environment"),
    (r"ensurepip", "install the package python3-venv"),
)
_LAST_REMEDY = "what led to it stands above this line in the log"


def cause_of(output: str, status: int, folders: Sequence[object] = ()) -> str:
    """Return the first error in the output of a failed command, with its remedy, as a clause.

    Parameters
    ----------
    output : str
        All that it wrote.
    status : int
        Its exit status, -N after signal N.
    folders : sequence, optional
        Folders that are taken off the paths in the error: those that are gone when the user reads it.
    """
    lines = [_plain(line) for line in output.splitlines()]
    error = _first_error(lines) or _last_words(lines)
    if status < 0:
        error = f"it was ended by signal {-status} ({signal.strsignal(-status)}){f', after: {error}' if error else ''}"
    error = error or f"it ended with status {status} and wrote nothing"
    for folder in folders:
        error = error.replace(f"{folder}/", "")
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, error)), _LAST_REMEDY)
    shown = error if len(error) <= LENGTH else f"{error[:LENGTH]}..."
    return f"{shown.rstrip('.:')}: {remedy}"


def _plain(line: str) -> str:
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", line).rstrip()


def _first_error(lines: list[str]) -> str | None:
    for index, line in enumerate(lines):
        if not _ERROR.search(line) or _CONSEQUENCE.search(line):
            continue
        if line.startswith("CMake Error"):
            below = _indented(lines[index + 1 :])
            # cmake sets what a compiler has said below an error of its own.
            return _first_error(below) or " ".join([line, *below[: below.index("") if "" in below else None]])
        if "from versions: none" in line:
            # pip says so as well where it could ask nobody.
            broken = [found[1] for earlier in lines[:index] if (found := _UNREACHABLE.search(earlier))]
            return f"the package index could not be reached ({broken[-1]})" if broken else line.strip()
        return line.strip()
    return None


def _indented(lines: list[str]) -> list[str]:
    """Return the text below an error: indented lines, and empty ones between its paragraphs."""
    end = next((index for index, line in enumerate(lines) if line and not line.startswith((" ", "\t"))), len(lines))
    return "\n".join(line.strip() for line in lines[:end]).strip("\n").split("\n")


def _last_words(lines: list[str]) -> str | None:
    """Return the last line, as of a Python traceback: that of the program whose output pip or uv has framed."""
    framed = next((index for index, line in enumerate(lines) if "[end of output]" in line), len(lines))
    said = [line.strip(" │╰─▶>") for line in lines[:framed] if line.strip(" │╰─▶>")]
    solver = next((index for index, line in enumerate(said) if line.startswith("× No solution found")), None)
    if solver is not None:
        return " ".join(said[solver:]).removeprefix("× ")
    return said[-1] if said else None
