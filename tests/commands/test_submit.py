"""`sparkdl-submit`: what it adds to the command line of spark-submit, and that it becomes spark-submit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyspark
import pytest

from sparkdl import __version__, jar
from sparkdl.commands.submit import submission

ROOT = Path(__file__).resolve().parents[2]
MINOR = ".".join(pyspark.__version__.split(".")[:2])
HOME = str(Path(pyspark.__file__).resolve().parent)
PYTHONS = [f"--conf=spark.pyspark.{part}={sys.executable}" for part in ("python", "driver.python")]
APPLICATION = ["app.jar", "--jars", "mine.jar", "--master", "yarn", "--conf", "spark.jars=no.jar"]


@pytest.fixture(autouse=True)
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(jar, "_FOLDER", tmp_path)
    path = tmp_path / f"sparkdl-spark-{MINOR}_2.13-{__version__}.jar"
    path.touch()
    return str(path)


def added(options: Sequence[str], environment: dict[str, str] | None = None) -> list[str]:
    """Return what stands between the user's options and the application."""
    command, _ = submission([*options, *APPLICATION], environment or {})
    assert command[0] == f"{HOME}/bin/spark-submit"
    assert command[1 : 1 + len(options)] == list(options)
    assert command[-len(APPLICATION) :] == APPLICATION
    between = command[1 + len(options) : -len(APPLICATION)]
    return [f"{name}={value}" for name, value in zip(between[::2], between[1::2], strict=True)]


def test_jar_and_python(ours: str) -> None:
    assert added(["--verbose", "--class", "a.B", "--master", "local[2]"]) == [f"--jars={ours}", *PYTHONS]


@pytest.mark.parametrize(
    "options",
    [
        ["--jars", "a.jar, b.jar"],
        ["--jars=a.jar,b.jar", "-v"],
        ["--jars", "x.jar", "--jars", "a.jar,b.jar"],
        ["--conf", "spark.jars=a.jar,b.jar"],
        ["-c", "spark.jars=a.jar,b.jar"],
        ["--conf", "spark.jars=x.jar", "--jars", "a.jar,b.jar", "--conf", "spark.jars=y.jar"],
    ],
)
def test_the_jars_of_the_user_stay(options: list[str], ours: str) -> None:
    assert added(options)[0] == f"--jars=a.jar,b.jar,{ours}"


def test_a_jar_that_is_there_already(ours: str) -> None:
    assert added(["--jars", f"{ours},a.jar"])[0] == f"--jars=a.jar,{ours}"


def test_an_application_of_this_jar(ours: str) -> None:
    command, _ = submission(["--class", "sparkdl.examples.Digits", ours, "file"], {})
    assert "--jars" not in command
    assert command[-2:] == [ours, "file"]


def test_settings_in_files(tmp_path: Path, ours: str) -> None:
    (tmp_path / "spark-defaults.conf").write_text(
        "# spark.jars no.jar\nspark.jars  a.jar,\\\n  b.jar \nspark.master: yarn\n"
    )
    (tmp_path / "mine.conf").write_text("spark.jars=mine.jar\nspark.pyspark.python = /opt/python\n")
    where = {"SPARK_CONF_DIR": str(tmp_path)}
    mine = ["--properties-file", str(tmp_path / "mine.conf")]
    assert added([], where) == [f"--jars=a.jar,b.jar,{ours}", PYTHONS[1]]
    assert added(mine, where) == [f"--jars=mine.jar,{ours}"]
    assert added([*mine, "--load-spark-defaults", "--jars", "c.jar"], where) == [f"--jars=c.jar,{ours}"]


@pytest.mark.parametrize("name", ["spark.pyspark.python", "spark.pyspark.driver.python"])
def test_a_python_of_the_user_in_a_setting(name: str) -> None:
    assert len(added(["--conf", f"{name}=/opt/python"])) == 1


@pytest.mark.parametrize("name", ["PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"])
def test_a_python_of_the_user_in_the_environment(name: str) -> None:
    assert len(added([], {name: "/opt/python"})) == 1
    assert "PYTHONPATH" not in submission(APPLICATION, {name: "/opt/python"})[1]


def test_on_a_cluster_only_the_drivers_python_is_known() -> None:
    assert added(["--master", "spark://host:7077"])[1:] == [PYTHONS[1]]
    assert added([], {"MASTER": "yarn"})[1:] == [PYTHONS[1]]
    assert added(["--master", "yarn", "--deploy-mode", "cluster"])[1:] == []


def test_python_finds_this_sparkdl() -> None:
    assert submission([], {})[1] == {"SPARK_HOME": HOME, "PYTHONPATH": str(ROOT)}
    assert submission([], {"PYTHONPATH": "/a:/b"})[1]["PYTHONPATH"] == f"{ROOT}:/a:/b"
    assert submission([], {"PYTHONPATH": f"/a:{ROOT}"})[1]["PYTHONPATH"] == f"/a:{ROOT}"


def test_a_missing_value_is_left_to_spark_submit(ours: str) -> None:
    command, _ = submission(["--master"], {})
    assert command[-1] == "--master"


def test_another_spark_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    command, environment = submission([], os.environ)
    assert command[0] == str(tmp_path / "bin" / "spark-submit")
    assert environment["SPARK_HOME"] == str(tmp_path)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from pathlib import Path; from sparkdl import jar; from sparkdl.commands.submit import main;"
        "jar._FOLDER = Path(sys.argv[1]); sys.exit(main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", program, str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_without_a_jar_it_says_so(tmp_path: Path) -> None:
    ended = run(tmp_path / "none", "--version")
    assert ended.returncode == 1
    assert ended.stderr.startswith("sparkdl-submit: no jar of the Scala bridge in this installation of sparkdl: ")
    assert ended.stderr.count("\n") == 1


def test_it_becomes_spark_submit(tmp_path: Path) -> None:
    ended = run(tmp_path, "--version")
    assert ended.returncode == 0
    assert f"version {pyspark.__version__}" in ended.stderr


def test_the_exit_code_and_the_arguments_are_those_of_the_application(tmp_path: Path) -> None:
    application = tmp_path / "app.py"
    application.write_text(
        "import os, sys\nimport sparkdl\nprint(sys.argv[1:], sys.executable, sparkdl.__file__)\nsys.exit(7)\n"
    )
    ended = run(tmp_path, "--master", "local[1]", str(application), "--jars", "mine.jar", "a b")
    assert ended.returncode == 7
    shown = f"{['--jars', 'mine.jar', 'a b']} {sys.executable} {ROOT / 'sparkdl' / '__init__.py'}"
    assert shown in ended.stdout
