"""``sparkdl-submit``: spark-submit of the installed pyspark, with the jar of the Scala bridge and this Python.

All that spark-submit takes goes through as it is. What is added stands behind the options of the user:

- ``--jars`` with the jar of sparkdl, and with the jars that the user has named;
- ``spark.pyspark.python`` and ``spark.pyspark.driver.python``, this interpreter, on a local master. On a cluster only
  the driver's is set, and only in client mode, where the driver runs here: which Python the executors have the user
  knows. Where the user has set one of the two, or PYSPARK_PYTHON or PYSPARK_DRIVER_PYTHON, nothing is added.
"""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from pyspark.find_spark_home import _find_spark_home

from sparkdl.errors import SparkDLError
from sparkdl.jar import jar_path

_SWITCHES = frozenset(
    ("--help", "-h", "--supervise", "--usage-error", "--verbose", "-v", "--version", "--load-spark-defaults")
)
"""What of spark-submit's options takes no value."""
_PROPERTIES = {"--jars": "spark.jars", "--master": "spark.master", "--deploy-mode": "spark.submit.deployMode"}
_PYTHON = "spark.pyspark.python"
_DRIVER_PYTHON = "spark.pyspark.driver.python"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Become spark-submit: signals and the exit code are its own.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line when None.

    Raises
    ------
    SystemExit
        If there is no jar for the installed pyspark.
    """
    try:
        command, environment = submission(sys.argv[1:] if arguments is None else arguments, os.environ)
    except (SparkDLError, OSError) as error:
        raise SystemExit(f"sparkdl-submit: {error}") from None
    os.execve(command[0], command, environment)


def submission(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the command to run, and its environment.

    Parameters
    ----------
    arguments : sequence of str
        Those of spark-submit.
    environment : mapping of str to str
        That of this process.
    """
    home = _find_spark_home()
    options, end = _options(arguments)
    settings = _settings(options, environment, Path(home))
    jar = jar_path()
    # Spark warns of a jar that comes twice: the examples are in this one.
    named = end < len(arguments) and os.path.realpath(arguments[end]) == os.path.realpath(jar)
    added = [] if named else ["--jars", ",".join(_jars(settings.get("spark.jars", ""), jar))]
    changed = {**environment, "SPARK_HOME": home}
    pythons = _pythons(settings, environment)
    for name in pythons:
        added += ["--conf", f"{name}={sys.executable}"]
    if pythons:
        _find_this_package(changed)
    return [str(Path(home, "bin", "spark-submit")), *arguments[:end], *added, *arguments[end:]], changed


def _options(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """Return spark-submit's own options with their values, and where those of the application begin."""
    options: list[tuple[str, str]] = []
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        name, equals, value = arguments[at].partition("=")
        if name in _SWITCHES or equals:
            at += 1
        elif at + 1 < len(arguments):
            value = arguments[at + 1]
            at += 2
        else:
            # Its value is missing; spark-submit says so, and must not take for it what is added.
            break
        options.append((name, value))
    return options, at


def _settings(options: list[tuple[str, str]], environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the settings that spark-submit will find, from its files and its options."""
    given = dict(options)
    conf = Path(environment.get("SPARK_CONF_DIR") or home / "conf")
    files = [Path(given[name]) for name in ("--properties-file", "--extra-properties-file") if name in given]
    if "--properties-file" not in given or "--load-spark-defaults" in given:
        files.insert(0, conf / "spark-defaults.conf")
    settings = {"spark.master": environment["MASTER"]} if environment.get("MASTER") else {}
    for file in files:
        settings.update(_properties(file))
    for name, value in options:
        if name in ("--conf", "-c"):
            key, _, text = value.partition("=")
            settings[key] = text
    settings.update({_PROPERTIES[name]: value for name, value in options if name in _PROPERTIES})
    return settings


def _properties(file: Path) -> dict[str, str]:
    """Read a file of Java's properties; one that is missing is spark-submit's to refuse."""
    if not file.is_file():
        return {}
    text = re.sub(r"\\\n\s*", "", file.read_text())
    return dict(re.findall(r"^[ \t]*([^#!\s=:][^\s=:]*)[ \t]*[=: \t][ \t]*(.*?)\s*$", text, re.MULTILINE))


def _jars(named: str, jar: str) -> list[str]:
    return [*(part for part in map(str.strip, named.split(",")) if part and part != jar), jar]


def _pythons(settings: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Return which settings of the Python are to be this interpreter."""
    if {_PYTHON, _DRIVER_PYTHON} & settings.keys():
        return []
    if environment.get("PYSPARK_PYTHON") or environment.get("PYSPARK_DRIVER_PYTHON"):
        return []
    if settings.get("spark.master", "local").startswith("local"):
        return [_PYTHON, _DRIVER_PYTHON]
    return [] if settings.get("spark.submit.deployMode") == "cluster" else [_DRIVER_PYTHON]


def _find_this_package(environment: dict[str, str]) -> None:
    """Let this interpreter find this sparkdl when it is started anew: a checkout may not be installed."""
    here = str(Path(__file__).resolve().parents[2])
    before = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    known = map(os.path.realpath, [*site.getsitepackages(), site.getusersitepackages(), *before])
    if here not in known:
        environment["PYTHONPATH"] = os.pathsep.join([here, *before])


if __name__ == "__main__":
    main()
