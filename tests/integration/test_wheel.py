"""The wheel: what it holds, and what it does in an environment of its own, without Horovod."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sparkdl

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import importlib.util
import json

import numpy
from pyspark.sql import SparkSession

import sparkdl

found = {"where": sparkdl.__file__, "horovod": importlib.util.find_spec("horovod") is not None}
found["missing"] = [name for name in sparkdl.__all__ if not hasattr(sparkdl, name)]
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
values = numpy.linspace(-1, 1, 64)
frame = spark.createDataFrame([([float(x)], float(2 * x)) for x in values], "features array<float>, label double")
regressor = sparkdl.TorchRegressor(module="mlp", epochs=2, batchSize=16, numProcs=2, backend="torch", seed=7, verbose=0)
found["scored"] = regressor.fit(frame).transform(frame).where("prediction is not null").count()
spark.stop()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy: setuptools leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "sparkdl", folder / "sparkdl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "params", folder / "tests" / "params")
    run(uv(), "build", "--wheel", "--out-dir", "dist", cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def uv() -> str:
    """Return the path of uv."""
    found = shutil.which("uv")
    assert found is not None, "uv has to be on PATH, as in make test-slow"
    return found


def run(*command: str, cwd: Path, active: Path | None = None) -> str:
    """Return what a command prints, which knows no paths to packages but those of an environment that is `active`."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK", "VIRTUAL"))}
    if active is not None:
        # Spark's workers are the python3 of the path.
        known["PATH"] = f"{active / 'bin'}{os.pathsep}{known['PATH']}"
    done = subprocess.run(command, cwd=cwd, env=known, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wheel_holds_the_package_with_its_types_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    stubs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sparkdl").rglob("*.pyi")}

    assert stubs | {"sparkdl/py.typed", "sparkdl/__init__.py"} <= names
    assert {name.split("/")[0] for name in names} == {"sparkdl", f"sparkdl_torch-{sparkdl.__version__}.dist-info"}


@pytest.mark.release
@pytest.mark.timeout(3600)
def test_wheel_trains_and_scores_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    installed = tmp_path / "installed"
    python = str(installed / "bin" / "python")
    try:
        run(uv(), "venv", "--quiet", "--python", sys.executable, str(installed), cwd=tmp_path)
        constraints = str(ROOT / "constraints.txt")
        run(uv(), "pip", "install", "--quiet", "--python", python, "-c", constraints, str(wheel), cwd=tmp_path)
        found = json.loads(run(python, str(program), cwd=tmp_path, active=installed).splitlines()[-1])
    finally:
        # Some gigabytes, and pytest keeps the folders of three runs.
        shutil.rmtree(installed, ignore_errors=True)

    assert found["where"].startswith(f"{installed}/")
    assert found["missing"] == []
    assert not found["horovod"]
    assert found["scored"] == 64
