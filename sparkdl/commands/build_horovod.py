"""``sparkdl-build-horovod``: build Horovod against the torch of this environment, install it, and try it.

Horovod's last release does not compile against torch 2.1 and later. This command takes its source from the
package index, makes the few changes that are needed, builds a wheel (kept for the next environment), installs
it, and initialises Horovod once. It imports nothing else of sparkdl.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sparkdl.commands.build_horovod_cause import cause_of
from sparkdl.commands.build_horovod_check import fault
from sparkdl.commands.build_horovod_compiler import cxx_standard, require_tools
from sparkdl.commands.build_horovod_source import VERSION, fetch, patch
from sparkdl.commands.build_horovod_steps import BuildError, Log, step
from sparkdl.commands.build_horovod_toolkit import nccl_environment
from sparkdl.commands.build_horovod_tools import (
    Pip,
    Torch,
    Uv,
    build_environment,
    find_installer,
    find_pip,
    probe_torch,
)
from sparkdl.commands.build_horovod_wheel import build, cached, key_of, store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line when None.

    Returns
    -------
    int
        0 when Horovod is installed and works, 1 when something is missing or has failed, 130 after Ctrl-C or SIGTERM.
    """
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(options)
    except BuildError as error:
        print(f"sparkdl-build-horovod: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # A full disk, for instance, between two of the commands.
        print(f"sparkdl-build-horovod: {cause_of(str(error), 1)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sparkdl-build-horovod: interrupted, nothing is left behind but the log", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparkdl-build-horovod",
        description=f"Build Horovod {VERSION} against the installed torch, install it and check it.",
    )
    parser.add_argument(
        "--nccl",
        action="store_true",
        help="for GPUs, with NCCL (the default is for CPUs, with Gloo); needs a torch with CUDA, but neither a "
        "GPU nor the CUDA toolkit",
    )
    parser.add_argument("--force", action="store_true", help="build again even where a wheel is kept")
    parser.add_argument("--no-install", action="store_true", help="only build the wheel, and print its path")
    parser.add_argument(
        "--cache-dir",
        type=Path,
        default=_default_cache(),
        help="where wheels and logs are kept (default: %(default)s)",
    )
    return parser


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sparkdl" / "horovod"


def _run(options: argparse.Namespace) -> None:
    kind = "nccl" if options.nccl else "gloo"
    with step("look at torch"):
        torch = probe_torch()
    if options.nccl and torch.cuda is None:
        raise BuildError(
            f"--nccl needs a torch with CUDA, torch {torch.version} has none: install such a torch, or leave --nccl out"
        )
    if not options.force and not options.no_install and _installed(torch, kind):
        print(f"Horovod {VERSION} for torch {torch.version} ({kind}) is installed and works")
        return
    key = key_of(torch, kind)
    kept = None if options.force else cached(options.cache_dir, key)
    if options.no_install and kept is not None:
        print(f"wheel: {kept}")
        return
    log = Log(options.cache_dir / "logs" / f"{key}.log")
    work = _work_folder(options.cache_dir)
    try:
        _provide(options, torch, kind, kept, work, log)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _work_folder(cache: Path) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    except OSError as error:
        raise BuildError(
            f"nothing can be written to {cache}: choose another folder by --cache-dir ({error})"
        ) from error


def _installed(torch: Torch, kind: str) -> bool:
    if importlib.util.find_spec("horovod") is None:
        return False
    with step("look for Horovod"):
        wrong = fault(torch, kind)
    if wrong is not None:
        print(f"  the one that is installed does not work: {wrong}")
    return wrong is None


def _provide(options: argparse.Namespace, torch: Torch, kind: str, kept: Path | None, work: Path, log: Log) -> None:
    done = f"Horovod {VERSION} for torch {torch.version} ({kind}) is installed and works"
    if kept is not None:
        print(f"  a wheel is kept: {kept}")
        wrong = _install(find_installer(work, log), kept, torch, kind, log)
        if wrong is None:
            print(done)
            return
        print(f"  the kept wheel does not work here, so it is built again: {wrong}")
    standard = cxx_standard(torch)
    require_tools(torch, standard, work, log)
    pip = find_pip(work, log)
    wheel = _build(pip, torch, kind, standard, work, log)
    wrong = None if options.no_install else _install(pip, wheel, torch, kind, log)
    if wrong is not None:
        raise BuildError(f"the wheel was built but Horovod does not work with it: {wrong}")
    print(f"wheel: {store(wheel, options.cache_dir, key_of(torch, kind))}")
    if not options.no_install:
        print(done)


def _build(pip: Pip, torch: Torch, kind: str, standard: int, work: Path, log: Log) -> Path:
    environment = build_environment(pip, work, log)
    if kind == "nccl":
        with step(f"collect a CUDA {torch.cuda} toolkit"):
            environment.update(nccl_environment(torch, pip, work, log))
    with step(f"fetch the source of Horovod {VERSION}"):
        source = fetch(pip, work, log)
    patch(source, standard)
    with step(f"build the wheel against torch {torch.version} ({kind}, C++{standard}), a few minutes"):
        return build(source, environment, work, log)


def _install(installer: Pip | Uv, wheel: Path, torch: Torch, kind: str, log: Log) -> str | None:
    """Install a wheel, and return what is wrong with it."""
    with step("install it"):
        installer.install(wheel, log)
    with step("check it: initialise Horovod and reduce a tensor"):
        return fault(torch, kind, log)


if __name__ == "__main__":
    sys.exit(main())
