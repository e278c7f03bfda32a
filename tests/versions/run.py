"""Run the core of the suite on every pyspark and Python that sparkdl promises, and over Spark Connect.

``run.py UV [NAME...]`` makes an environment in ``.versions/NAME`` for each ``NAME.txt`` beside this file, with the
versions of constraints.txt but for those that the file gives, and runs the core there; then the core of Spark Connect
on the main environment (NAME "connect"). Results go to ``.versions/results.json``; docs/make_compatibility.py makes a
table of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".versions"
RESULTS = PLACE / "results.json"
MAIN = ROOT / ".venv"
CONNECT = "connect"
LIMIT = 1800.0
SHOWN = ("pyspark", "torch", "horovod", "petastorm", "pyarrow", "numpy", "pandas")
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "psutil")
IN_TWO = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""As `make test`; the tests over Spark Connect share one server, which has no slots for two fits at a time."""


def main(arguments: list[str]) -> int:
    """Run what is asked for; return 1 if a test has failed."""
    uv, names = arguments[0], arguments[1:]
    every = [path.stem for path in sorted(HERE.glob("py*-*.txt"))]
    PLACE.mkdir(exist_ok=True)
    failed = False
    for name in names or [*every, CONNECT]:
        began = time.monotonic()
        try:
            result = _over_connect() if name == CONNECT else _in_environment(uv, name)
        except subprocess.SubprocessError as error:
            # One environment that cannot be made says nothing about the others.
            result = {"failures": [f"{name}: {error}"]}
        result["seconds"] = round(time.monotonic() - began)
        _keep(name, result)
        lost = result.get("failures", [])
        failed |= bool(lost) or result.get("code", 0) != 0
        print(f"   {result.get('missing') or _summary(result)} in {result['seconds']} s", flush=True)
        for test in lost:
            print(f"   FAILED {test}", flush=True)
    return int(failed)


def _keep(name: str, result: dict[str, Any]) -> None:
    # Another run may have written since this one began.
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results[name] = result
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _in_environment(uv: str, name: str) -> dict[str, Any]:
    pins, wanted = _pins(HERE / f"{name}.txt")
    print(f"== {name}: environment with Python {wanted}, {', '.join(pins)}", flush=True)
    python = _find_python(uv, wanted)
    if python is None:
        return {"missing": f"no Python {wanted} on this machine and none to be had: not run"}
    folder = PLACE / name
    _make(uv, folder, python, pins)
    print(f"== {name}: Horovod (a few minutes where no wheel is kept for this Python)", flush=True)
    path = f"{Path(uv).resolve().parent}{os.pathsep}{os.environ['PATH']}"
    _call([str(folder / "bin" / "sparkdl-build-horovod")], env={**os.environ, "PATH": path})
    print(f"== {name}: the core of the suite", flush=True)
    return _tested(folder / "bin" / "python", [], "core.txt")


def _over_connect() -> dict[str, Any]:
    print("== connect: the core of the suite on the main environment, over a local Spark Connect server", flush=True)
    python = MAIN / "bin" / "python"
    return _tested(python, [str(python), str(HERE / "connect_server.py")], "connect.txt")


def _pins(path: Path) -> tuple[list[str], str]:
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    wanted = next(line.split()[-1] for line in lines if line.startswith("# python"))
    return [line for line in lines if not line.startswith("#")], wanted


def _find_python(uv: str, wanted: str) -> str | None:
    """Return a Python of that minor version: of this machine, or one that uv can fetch."""
    known = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates: Iterator[str | None] = iter(
        [shutil.which(f"python{wanted}"), *map(str, sorted(known.glob(f"{wanted}.*/bin/python{wanted}")))]
    )
    for candidate in candidates:
        # A shim of pyenv's may stand for a version that is not chosen.
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    fetched = subprocess.run([uv, "python", "install", "--quiet", wanted], capture_output=True, check=False)
    if fetched.returncode:
        return None
    return subprocess.run([uv, "python", "find", wanted], capture_output=True, text=True, check=True).stdout.strip()


def _make(uv: str, folder: Path, python: str, pins: list[str]) -> None:
    """Fill an environment, unless it has been filled from the same files already."""
    replaced = {pin.partition("==")[0] for pin in pins}
    kept = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.partition("==")[0].strip() not in replaced
    ]
    constraints = "\n".join([*kept, *pins]) + "\n"
    state = hashlib.sha256((constraints + python + (ROOT / "pyproject.toml").read_text()).encode()).hexdigest()
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text() == state:
        return
    _call([uv, "venv", "--quiet", "--clear", "--python", python, str(folder)])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        into = ["--python", str(folder / "bin" / "python"), "-c", file.name]
        _call([uv, "pip", "install", "--quiet", "--compile-bytecode", *into, "-e", f"{ROOT}[image]", *TOOLS])
    stamp.write_text(state)


def _tested(python: Path, before: list[str], chosen: str) -> dict[str, Any]:
    """Run the tests that a file chooses; return versions, counts by area, and the names of those that failed."""
    areas = [line.split() for line in (HERE / chosen).read_text().splitlines() if line and not line.startswith("#")]
    paths = dict.fromkeys(prefix.partition("::")[0] for _, prefix in areas)
    with tempfile.TemporaryDirectory(prefix="sparkdl-versions-") as scratch:
        report = Path(scratch) / "report.xml"
        options = ["-m", "core and not slow", "-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
        options += [] if before else IN_TWO
        command = [*before, str(python), "-m", "pytest", *options, "-o", "junit_family=xunit1", *paths]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        code = _call(command, env=env, check=False)
        found = _counted(report, areas) if report.is_file() else {}
    return {"versions": _versions(python), "code": code, **found}


def _counted(report: Path, areas: list[list[str]]) -> dict[str, Any]:
    counts: dict[str, list[int]] = {area: [0, 0] for area, _ in areas}
    failures = []
    for case in ET.parse(report).iter("testcase"):
        # As pytest names it on the command line.
        name = f"{case.get('file')}::{case.get('name')}"
        area = next((area for area, prefix in areas if name.startswith(prefix)), areas[0][0])
        bad = case.find("failure") is not None or case.find("error") is not None
        counts[area][bad] += 1
        if bad:
            failures.append(name)
    return {"areas": counts, "failures": failures}


def _versions(python: Path) -> dict[str, str]:
    program = (
        "import importlib.metadata as m, json, platform;"
        f"print(json.dumps({{'python': platform.python_version(), **{{n: m.version(n) for n in {SHOWN!r}}}}}))"
    )
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", program]))
    return found


def _summary(result: dict[str, Any]) -> str:
    passed, bad = (sum(count[i] for count in result.get("areas", {}).values()) for i in (0, 1))
    return f"{passed} passed, {bad} failed"


def _call(command: list[str], *, env: dict[str, str] | None = None, check: bool = True) -> int:
    return subprocess.run(command, cwd=ROOT, env=env, check=check, timeout=LIMIT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
