"""The wheel: built once, kept by what it was built for."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sparkdl.commands.build_horovod_source import VERSION
from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import Torch

BUILD_SECONDS = 5400.0


def key_of(torch: Torch, kind: str) -> str:
    """Return the name under which a wheel is kept: Horovod, torch, Python, platform and C library, kind."""
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    system = f"{sysconfig.get_platform()}-{''.join(platform.libc_ver())}"
    return re.sub(r"[^\w.+-]", "_", f"horovod{VERSION}-torch{torch.version}-{python}-{system}-{kind}")


def cached(cache: Path, key: str) -> Path | None:
    """Return the wheel that is kept under `key`."""
    return next(iter(sorted((cache / key).glob("*.whl"))), None)


def store(wheel: Path, cache: Path, key: str) -> Path:
    """Keep `wheel` under `key`; whoever reads meanwhile sees the old one or the new one, whole."""
    folder = cache / key
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(handle)
    shutil.copyfile(wheel, part)
    os.chmod(part, 0o644)
    kept = folder / wheel.name
    os.replace(part, kept)
    return kept


def build(source: Path, environment: Mapping[str, str], work: Path, log: Log) -> Path:
    """Compile the source with these variables and return the wheel.

    Raises
    ------
    BuildError
        With the last lines of the output.
    """
    wheels = work / "wheels"
    # setup.py itself, not pip: the build has to import torch from this environment, which may have no pip.
    command = [sys.executable, "setup.py", "bdist_wheel", "--dist-dir", str(wheels)]
    log.run(command, "building Horovod", BUILD_SECONDS, env=environment, cwd=source)
    found = list(wheels.glob("horovod-*.whl"))
    if len(found) != 1:
        raise BuildError(f"the build made {len(found)} wheels instead of one, its output is in {log.path}")
    return found[0]
