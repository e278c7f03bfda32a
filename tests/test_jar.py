"""`sparkdl.jar_path`: the jar of this version for the minor version of the installed pyspark, or a sentence."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pyspark
import pytest

import sparkdl
from sparkdl import jar

MINOR = ".".join(pyspark.__version__.split(".")[:2])
ROOT = Path(__file__).resolve().parents[1]
THERE = ["3.9", "10.0", MINOR]


def put(folder: Path, *minors: str, version: str = sparkdl.__version__) -> None:
    for minor in minors:
        (folder / f"sparkdl-spark-{minor}_2.13-{version}.jar").touch()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jar, "_FOLDER", tmp_path)
    return tmp_path


def test_the_jar_for_the_installed_pyspark(folder: Path) -> None:
    put(folder, *THERE)
    put(folder, MINOR, version="0.0.9")
    assert sparkdl.jar_path() == str(folder / f"sparkdl-spark-{MINOR}_2.13-{sparkdl.__version__}.jar")


def test_no_jar(folder: Path) -> None:
    put(folder, MINOR, version="0.0.9")
    with pytest.raises(
        sparkdl.SparkDLError, match=r"^no jar of the Scala bridge in this .*: run `make jar` in a checkout"
    ):
        sparkdl.jar_path()


def test_jars_for_other_versions(folder: Path) -> None:
    put(folder, "3.9", "10.0")
    with pytest.raises(sparkdl.SparkDLError) as refused:
        sparkdl.jar_path()
    assert str(refused.value) == (
        f"no jar of the Scala bridge for Spark {MINOR}, but for 10.0 and 3.9: "
        f"install one of these in place of pyspark {pyspark.__version__}"
    )


def test_asking_is_quick() -> None:
    program = "import sys, sparkdl.jar; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_maven_builds_the_same_version() -> None:
    names = {"maven": "http://maven.apache.org/POM/4.0.0"}
    pom = ET.parse(ROOT / "scala-bridge" / "pom.xml").getroot()
    assert pom.findtext("maven:version", namespaces=names) == sparkdl.__version__
