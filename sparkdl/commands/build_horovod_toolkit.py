"""A CUDA toolkit for ``--nccl``: that of the machine where it fits torch, else one from the package index.

torch's own dependencies hold the CUDA and NCCL libraries and most headers; the compiler comes as four small
packages beside them. They are laid together in a private folder in the shape of a toolkit.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import PROBE_SECONDS, Pip, Torch

COMPILER = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl")
FIRST_MAJOR = 13
"""Before CUDA 13 the package index has no nvcc, only its parts."""
CAPABILITIES = {12: "70,75,80,86,89,90", 13: "75,80,86,89,90,100,120"}
"""Compute capabilities by CUDA's major version: T4 75, A100 80, A10 86, L4 89, H100 90, B200 100."""


def nccl_environment(torch: Torch, pip: Pip, work: Path, log: Log) -> dict[str, str]:
    """Return the variables that make Horovod's build use CUDA and NCCL.

    Parameters
    ----------
    torch : Torch
        With CUDA.
    pip : Pip
        Fetches the compiler.
    work : Path
        Where the toolkit is laid together.
    log : Log
        Of the build.

    Raises
    ------
    BuildError
        When neither this machine nor the package index has what fits this torch.
    """
    assert torch.cuda is not None
    cuda = _local_toolkit(torch.cuda) or _fetched_toolkit(torch.cuda, pip, work, log)
    major = int(torch.cuda.split(".")[0])
    capabilities = CAPABILITIES.get(major, CAPABILITIES[max(CAPABILITIES)])
    return {
        "HOROVOD_GPU_OPERATIONS": "NCCL",
        "HOROVOD_NCCL_LINK": "SHARED",
        "HOROVOD_NCCL_HOME": str(_nccl_home(work)),
        "HOROVOD_CUDA_HOME": str(cuda),
        "CUDA_HOME": str(cuda),
        "CUDAToolkit_ROOT": str(cuda),
        "PATH": f"{cuda / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOROVOD_BUILD_CUDA_CC_LIST": os.environ.get("HOROVOD_BUILD_CUDA_CC_LIST", capabilities),
    }


def _local_toolkit(version: str) -> Path | None:
    """Return the toolkit of this machine if its nvcc has torch's CUDA version."""
    nvcc = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    homes = [Path(position) for position in places if position]
    if nvcc is not None:
        homes.insert(0, Path(nvcc).resolve().parent.parent)
    for home in homes:
        if _nvcc_version(home / "bin" / "nvcc") == version and (home / "include" / "cuda_runtime.h").exists():
            return home
    return None


def _nvcc_version(nvcc: Path) -> str | None:
    try:
        done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"release (\d+\.\d+)", done.stdout)
    return found[1] if found else None


def _fetched_toolkit(version: str, pip: Pip, work: Path, log: Log) -> Path:
    major = version.split(".")[0]
    if int(major) < FIRST_MAJOR:
        raise BuildError(
            f"torch was built for CUDA {version}, whose compiler is not on the package index: install the CUDA "
            f"toolkit {version} and set CUDA_HOME, or use a torch for CUDA {FIRST_MAJOR} or later"
        )
    libraries = _nvidia_folder() / f"cu{major}"
    if not libraries.is_dir():
        raise BuildError(
            f"torch's CUDA libraries are not in {libraries}: install the CUDA toolkit {version} and set "
            "CUDA_HOME, or install torch with its dependencies"
        )
    pip.install_into(work / "cuda", [f"{name}=={version}.*" for name in COMPILER], log)
    toolkit = work / "cuda" / "nvidia" / f"cu{major}"
    _link_missing(libraries / "include", toolkit / "include")
    _link_missing(libraries / "lib", toolkit / "lib")
    _link_unversioned(toolkit / "lib")
    if not (toolkit / "lib64").exists():
        (toolkit / "lib64").symlink_to("lib")
    for program in (toolkit / "bin").iterdir():
        program.chmod(0o755)
    return toolkit


def _nccl_home(work: Path) -> Path:
    """Return a folder with ``include`` and ``lib``: torch's NCCL, and a ``libnccl.so`` to link with."""
    source = _nvidia_folder() / "nccl"
    if not (source / "include" / "nccl.h").exists():
        raise BuildError(
            f"NCCL's header is not in {source}: install nvidia-nccl for torch's CUDA version (a torch with CUDA "
            "from the package index brings it)"
        )
    home = work / "nccl"
    _link_missing(source / "include", home / "include")
    _link_missing(source / "lib", home / "lib")
    _link_unversioned(home / "lib")
    return home


def _nvidia_folder() -> Path:
    spec = importlib.util.find_spec("nvidia")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            "torch's CUDA libraries (packages nvidia-*) are not installed in this environment: install the CUDA "
            "toolkit of torch's version and set CUDA_HOME, or install torch with its dependencies"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _link_missing(source: Path, target: Path) -> None:
    """Put a link into `target` for each file below `source` that is not there."""
    for path in source.rglob("*"):
        link = target / path.relative_to(source)
        if not path.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def _link_unversioned(folder: Path) -> None:
    """Add ``libX.so`` beside each ``libX.so.N``: linkers look for the former, the packages have the latter."""
    for path in folder.glob("lib*.so.*"):
        plain = folder / f"{path.name.partition('.so.')[0]}.so"
        if not plain.exists():
            plain.symlink_to(path.name)
