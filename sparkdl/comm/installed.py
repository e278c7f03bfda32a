"""What the Horovod and the torch of this Python can do, found out without importing either."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import mmap
import runpy
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

BUILD = "sparkdl-build-horovod"
BUILD_FOR_GPUS = f"{BUILD} --nccl"

_EXTENSION = "mpi_lib_v2"
_OF_NCCL = (b"ncclAllReduce", b"NCCL version")
"""What the extension holds where it calls NCCL, linked to it or with all of it inside."""


class Problem(NamedTuple):
    """What the driver's Python lacks for a backend.

    Attributes
    ----------
    found : str
        A clause.
    command : str
        Brings what is missing.
    """

    found: str
    command: str


def horovod_problem(gpus: bool = False) -> Problem | None:
    """Return why ranks cannot talk by the Horovod of this Python; None if they can.

    Parameters
    ----------
    gpus : bool
        Whether the ranks compute on GPUs, whose tensors Horovod reduces by NCCL only.
    """
    command = BUILD_FOR_GPUS if gpus else BUILD
    folder = _folder_of("horovod")
    if folder is None:
        return Problem("Horovod is not installed in the driver's Python", command)
    files = [folder / "torch" / f"{_EXTENSION}{suffix}" for suffix in EXTENSION_SUFFIXES]
    library = next((file for file in files if file.exists()), None)
    if library is None:
        return Problem("the Horovod in the driver's Python was built without torch", command)
    built, there = _torch_of(folder), _installed_torch()
    if built is not None and there is not None and _public(built) != _public(there):
        return Problem(f"the Horovod in the driver's Python was built for torch {built}, not for {there}", command)
    nccl = _holds(library, _OF_NCCL)
    if gpus and not nccl:
        return Problem("the Horovod in the driver's Python was built without NCCL, which GPUs need", command)
    if nccl and not torch_has_gpus():
        return Problem("the Horovod in the driver's Python was built for GPUs, and torch for CPUs", command)
    return None


def torch_has_gpus() -> bool:
    """Return whether the torch of this Python is built for GPUs; whether there are any is another question."""
    folder = _folder_of("torch")
    if folder is None:
        return False
    # The file that torch's build leaves behind; it imports nothing of torch.
    built = runpy.run_path(str(folder / "version.py"))
    return built.get("cuda") is not None or built.get("hip") is not None


def _folder_of(name: str) -> Path | None:
    """The folder of an installed package; a folder of that name that merely lies on the path is none."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _torch_of(horovod: Path) -> str | None:
    """The torch that Horovod was built for, as its build has noted; None where it has not."""
    try:
        noted = json.loads((horovod / "metadata.json").read_text())
    except (OSError, ValueError):
        return None
    version = noted.get("pytorch") if isinstance(noted, dict) else None
    return None if version is None else str(version)


def _installed_torch() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _public(version: str) -> str:
    return version.partition("+")[0]


def _holds(file: Path, words: tuple[bytes, ...]) -> bool:
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(word) >= 0 for word in words)
