"""What a build needs of this machine: torch, pip, cmake. Each is found, fetched, or missed aloud."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sparkdl.commands.build_horovod_cause import cause_of
from sparkdl.commands.build_horovod_steps import BuildError, Log, step

DOWNLOAD_SECONDS = 900.0
PROBE_SECONDS = 300.0
CMAKE = "cmake>=3.13,<4"
"""Gloo inside Horovod asks for a policy that cmake 4 refuses."""

_PROBE = """
import json, os, torch
print(json.dumps([torch.__version__, torch.version.cuda, os.path.dirname(torch.__file__)]))
"""


@dataclass(frozen=True)
class Torch:
    """The installed torch: version with its local tag, CUDA version (major.minor) or None, the package's folder."""

    version: str
    cuda: str | None
    folder: Path = Path()


def probe_torch() -> Torch:
    """Ask a fresh interpreter for its torch.

    Raises
    ------
    BuildError
        When it is missing or cannot be imported.
    """
    if importlib.util.find_spec("torch") is None:
        raise BuildError(
            f"torch is not installed for {sys.executable}, and Horovod is built against it: install torch first"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        reason = cause_of(error.stderr, error.returncode)
        raise BuildError(f"torch is installed but cannot be imported, mend that first: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"importing torch took longer than {PROBE_SECONDS:.0f} s") from error
    version, cuda, folder = json.loads(done.stdout.strip().splitlines()[-1])
    return Torch(version, cuda, Path(folder))


@dataclass(frozen=True)
class Pip:
    """A pip: that of this environment, or a private one that works on this environment from outside."""

    command: tuple[str, ...]
    private: bool

    def download(self, requirement: str, folder: Path, log: Log) -> None:
        """Download one source distribution."""
        arguments = ["download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), requirement]
        self._run(arguments, f"pip download {requirement}", log)

    def install_into(self, folder: Path, requirements: list[str], log: Log) -> None:
        """Install into a folder of its own, with no dependencies, leaving the environment as it is."""
        arguments = ["install", "--no-deps", "--ignore-installed", "--target", str(folder), *requirements]
        self._run(arguments, f"pip install {' '.join(requirements)}", log)

    def install(self, wheel: Path, log: Log) -> None:
        """Install a wheel into the environment that runs this command, in place of what is there."""
        where = ["--python", sys.executable] if self.private else []
        self._run([*where, "install", "--force-reinstall", "--no-deps", str(wheel)], f"pip install {wheel.name}", log)
        # Again with its dependencies, which are few and mostly there: this reinstalls none that is.
        self._run([*where, "install", str(wheel)], f"pip install what {wheel.name} needs", log)

    def _run(self, arguments: list[str], what: str, log: Log) -> None:
        quiet = ["--disable-pip-version-check", "--no-input"]
        log.run([*self.command, *quiet, *arguments], what, DOWNLOAD_SECONDS, env=_pip_environment())


def _pip_environment() -> dict[str, str]:
    """Let pip use the package index that uv has been told to use."""
    environment = dict(os.environ)
    index = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL")
    if index and "PIP_INDEX_URL" not in environment:
        environment["PIP_INDEX_URL"] = index
    return environment


@dataclass(frozen=True)
class Uv:
    """A uv on PATH, which installs into an environment that has no pip."""

    command: str

    def install(self, wheel: Path, log: Log) -> None:
        """Install a wheel into the environment that runs this command, in place of what is there."""
        arguments = [self.command, "pip", "install", "--quiet", "--python", sys.executable]
        arguments += ["--reinstall-package", "horovod", str(wheel)]
        log.run(arguments, f"uv pip install {wheel.name}", DOWNLOAD_SECONDS)


def find_installer(work: Path, log: Log) -> Pip | Uv:
    """Return what installs a kept wheel soonest: the environment's pip, else uv, else a private pip."""
    uv = shutil.which("uv")
    if uv is not None and importlib.util.find_spec("pip") is None:
        return Uv(uv)
    return find_pip(work, log)


def find_pip(work: Path, log: Log) -> Pip:
    """Return the environment's pip, else one in a private environment below `work` (uv's environments have none)."""
    if importlib.util.find_spec("pip") is not None:
        return Pip((sys.executable, "-m", "pip"), private=False)
    home = work / "pip"
    failures = []
    with step("make a private pip, this environment has none"):
        makers = [[sys.executable, "-m", "venv", str(home)]]
        uv = shutil.which("uv")
        if uv is not None:
            makers.append([uv, "venv", "--clear", "--seed", "--python", sys.executable, str(home)])
        for maker in makers:
            try:
                log.run(maker, f"'{shlex.join(maker[:3])}'", DOWNLOAD_SECONDS)
            except BuildError as error:
                failures.append(str(error))
                continue
            return Pip((str(home / "bin" / "python"), "-m", "pip"), private=True)
    raise BuildError(
        f"pip is needed to fetch Horovod's source, and neither {sys.executable} has it nor can "
        f"'python -m venv' make one: install pip, or the package python3-venv of your system ({', '.join(failures)})"
    )


def build_environment(pip: Pip, work: Path, log: Log) -> dict[str, str]:
    """Return the environment variables of a CPU build, and fetch what pip can bring for it."""
    cmake = _find_cmake()
    if cmake is None:
        with step(f"fetch {CMAKE}"):
            pip.install_into(work / "cmake", [CMAKE], log)
        cmake = str(work / "cmake" / "cmake" / "data" / "bin" / "cmake")
    environment = _cleaned(dict(os.environ))
    modules = [name for name in ("setuptools", "packaging") if importlib.util.find_spec(name) is None]
    if modules:
        with step(f"fetch {', '.join(modules)}"):
            pip.install_into(work / "modules", modules, log)
        paths = [str(work / "modules"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment.update(
        HOROVOD_CMAKE=cmake,
        HOROVOD_WITH_PYTORCH="1",
        HOROVOD_WITH_GLOO="1",
        HOROVOD_WITHOUT_TENSORFLOW="1",
        HOROVOD_WITHOUT_MXNET="1",
        HOROVOD_WITHOUT_MPI="1",
        HOROVOD_WITHOUT_NVTX="1",
        # GCC 13 no longer brings <cstdint> along with other headers, which Gloo counts on.
        CXXFLAGS=f"-include cstdint {environment.get('CXXFLAGS', '')}".strip(),
    )
    environment.setdefault("MAKEFLAGS", f"-j{_jobs()}")
    return environment


def _cleaned(environment: dict[str, str]) -> dict[str, str]:
    """Take away what would steer the build elsewhere; what tunes the compiled code stays."""
    kept = ("HOROVOD_BUILD_ARCH_FLAGS", "HOROVOD_BUILD_CUDA_CC_LIST")
    gone = ("CUDA_HOME", "CUDA_PATH", "CUDACXX", "CUDAToolkit_ROOT")
    return {
        name: value
        for name, value in environment.items()
        if name not in gone and (name in kept or not name.startswith("HOROVOD_"))
    }


def _jobs() -> int:
    """Return how many compilers may run at once: one a core, each with 2 GiB of memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory // 2**31))


def _find_cmake() -> str | None:
    """Return a cmake that can build Horovod, from HOROVOD_CMAKE, this environment or PATH."""
    here = str(Path(sys.executable).parent)
    candidates = (os.environ.get("HOROVOD_CMAKE"), shutil.which("cmake", path=here), shutil.which("cmake"))
    for candidate in candidates:
        if candidate and _is_usable_cmake(candidate):
            return candidate
    return None


def _is_usable_cmake(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.search(r"version (\d+)\.(\d+)", done.stdout)
    return found is not None and (3, 13) <= (int(found[1]), int(found[2])) < (4, 0)
