"""The documents: links lead somewhere, and the Python they show runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pyspark.sql import SparkSession

from sparkdl.network import registry

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
RUN = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("migration.md", "mlflow.md", "models.md"))]
"""Documents whose Python blocks run, from top to bottom, in one namespace."""

_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_blocks(path: Path) -> list[tuple[str, str]]:
    """Return (what stands behind "python", code) of each block, the code at its own line number."""
    text = path.read_text()
    return [
        (match[2].strip(), "\n" * text[: match.start(3)].count("\n") + match[3])
        for match in _FENCE.finditer(text)
        if match[1] == "python"
    ]


def anchors(path: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a document."""
    prose = _FENCE.sub("", path.read_text())
    titles = re.findall(r"^#+ +(.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", path.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_the_index_names_every_document() -> None:
    linked = set(_LINK.findall((ROOT / "docs/index.md").read_text()))
    assert {path.name for path in ROOT.glob("docs/*.md")} - linked == {"index.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_is_python(path: Path) -> None:
    for _, code in python_blocks(path):
        compile(code, str(path), "exec")


@pytest.fixture
def fresh_start(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working folder for Python and for the JVM, MLflow as nobody has set it up, and names to register."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    hadoop = spark._jvm.org.apache.hadoop.fs  # type: ignore[union-attr]
    files = hadoop.FileSystem.get(spark._jsparkSession.sessionState().newHadoopConf())
    before = files.getWorkingDirectory()
    files.setWorkingDirectory(hadoop.Path(str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    yield
    files.setWorkingDirectory(before)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_python_runs(path: Path, spark: SparkSession, fresh_start: None) -> None:
    namespace: dict[str, Any] = {"spark": spark, "__name__": "__main__"}
    ran = 0
    for mark, code in python_blocks(path):
        if mark != "not-run":
            exec(compile(code, str(path), "exec"), namespace)
            ran += 1
    assert ran >= 2


def test_readme_names_the_tested_versions() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    table = (ROOT / "README.md").read_text().partition("## Versions")[2].partition("\n## ")[0]
    named = dict(re.findall(r"^\| (\w+)(?: \(optional\))? \| ([\d.]+) \|", table, re.MULTILINE))
    assert {name: version for name, version in named.items() if name in pins and pins[name] != version} == {}
    assert {"pyspark", "torch", "horovod", "petastorm", "pyarrow", "numpy", "pandas", "mlflow"} <= set(named)
