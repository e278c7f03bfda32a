"""The Scala and Java examples, as users run them: by `sparkdl-submit`, on the digits that scikit-learn ships."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest
import sklearn

import sparkdl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MARK = "SPARKDL_TEST_EXAMPLES"
DIGITS = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"


@pytest.fixture
def jar() -> str:
    try:
        return sparkdl.jar_path()
    except sparkdl.SparkDLError:
        pytest.skip("there is no jar of the Scala stages for this pyspark: Maven and `make jar` build it")


def submit(jar: str, program: str, *arguments: str | Path) -> str:
    """Run a program of the jar, and return what it printed once nothing of it is left."""
    command = [
        sys.executable,
        "-m",
        "sparkdl.commands.submit",
        "--master",
        "local[2]",
        "--conf",
        "spark.ui.enabled=false",
    ]
    command += ["--class", f"sparkdl.examples.{program}", jar, *map(str, arguments)]
    mark = str(uuid.uuid4())
    environment = {**os.environ, MARK: mark}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        output, errors = running.communicate(timeout=500)
    assert running.returncode == 0, output + errors[-4000:]
    assert marked(mark) == []
    return output


def marked(mark: str) -> list[str]:
    """Return the command lines of processes that a program has started, and that are still there."""
    processes = psutil.process_iter(["cmdline", "environ"])
    found = [process.info["cmdline"] for process in processes if (process.info["environ"] or {}).get(MARK) == mark]
    # Ranks are forked from a server that waits a minute for the next fit.
    return [
        " ".join(command)
        for command in found
        if command and not any("sparkdl.cluster.prefork" in part for part in command)
    ]


def number(pattern: str, output: str) -> float:
    (found,) = re.findall(pattern, output)
    return float(found)


def test_digits(jar: str, tmp_path: Path) -> None:
    output = submit(jar, "Digits", DIGITS, tmp_path / "model")
    assert number(r"accuracy on digits that it has not seen: (\S+)", output) >= 0.95
    output = submit(jar, "DigitsStream", DIGITS, tmp_path / "model", tmp_path / "stream")
    assert number(r"1797 digits scored, (\S+)% of them right", output) >= 95
    output = submit(jar, "ScoreDigits", DIGITS, tmp_path / "model")
    assert number(r"10 classes, (\S+)% of 1797 digits right", output) >= 95
