"""The documents: links lead somewhere, the Python they show runs as it stands, and what it trains has learned."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pyspark.sql import SparkSession

from sparkdl.network import registry

ROOT = Path(__file__).resolve().parents[2]
SPARK_SUBMIT = str(Path(sys.executable).with_name("spark-submit"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
NOT_RUN = {
    "docs/compatibility.md": ["model = TorchClassifier("],  # executors with GPUs, on a cluster
    "docs/connect_ml.md": ["from pyspark.ml import Pipeline, PipelineModel"],  # a client of a server
    "docs/guides/gpus.md": ["spark = SparkSession.", "TorchClassifier(", "profile = "],  # machines with GPUs
    "docs/migration.md": [
        "# horovod.spark ",  # two programs beside each other, one of them horovod.spark's
        "def train(epochs):",  # Lightning
        "def train(lr, config):",  # DeepSpeed
    ],
}
"""How the Python blocks begin that no test runs; their fences say `python not-run`."""

GOOD = {"accuracy": 0.93, "R2": 0.85}
"""What a score that an example prints must reach, on rows that its network has not learned from."""

SCORES = {
    "README.md": 3,
    "docs/checkpoints.md": 1,
    "docs/feed.md": 2,
    "docs/migration.md": 6,
    "docs/mlflow.md": 1,
    "docs/models.md": 1,
    "docs/quickstart.md": 1,
    "docs/training.md": 2,
}
"""How many such scores the code of a document prints."""

_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SCORE = re.compile(rf"\b({'|'.join(GOOD)}) (-?\d+\.\d+|nan)")
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
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    listed = {page for page in pages if page.startswith(("adr/", "reference/")) and not page.endswith("index.md")}
    assert pages - listed - linked == {"index.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_is_python(path: Path) -> None:
    for _, code in python_blocks(path):
        compile(code, str(path), "exec")


RUN = [path for path in DOCUMENTS if any(mark != "not-run" for mark, _ in python_blocks(path))]


def test_what_is_not_run_is_listed() -> None:
    unrun = {
        name_of(path): [code.lstrip() for mark, code in python_blocks(path) if mark == "not-run"] for path in DOCUMENTS
    }
    listed = {name: begins for name, begins in unrun.items() if begins}
    assert listed.keys() == NOT_RUN.keys()
    for name, begins in listed.items():
        assert len(begins) == len(NOT_RUN[name]), name
        assert all(code.startswith(begin) for code, begin in zip(begins, NOT_RUN[name], strict=True)), name


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


def check_scores(name: str, printed: str, expected: int) -> None:
    scores = [(score, float(value)) for score, value in _SCORE.findall(printed)]
    assert len(scores) == expected, printed
    assert all(value >= GOOD[score] for score, value in scores), (
        f"{name} shows a network that learned nothing: {scores}"
    )


SOON = ("README.md", "docs/quickstart.md")
"""Whose code `make test` runs; that of the others `make test-slow` does."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if name_of(path) in SOON else pytest.mark.slow, id=name_of(path)) for path in RUN],
)
def test_python_runs(path: Path, spark: SparkSession, fresh_start: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the blocks of a document from top to bottom in one namespace, as the cells of a notebook."""
    namespace: dict[str, Any] = {"spark": spark, "__name__": "__main__"}
    for mark, code in python_blocks(path):
        if mark != "not-run":
            exec(compile(code, str(path), "exec"), namespace)
    check_scores(name_of(path), capsys.readouterr().out, SCORES.get(name_of(path), 0))


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([sys.executable], id="python"),
        pytest.param([SPARK_SUBMIT, "--master", "local[2]"], marks=pytest.mark.slow, id="spark-submit"),
    ],
)
def test_readme_program_runs(launcher: list[str], tmp_path: Path) -> None:
    (code,) = (code for _, code in python_blocks(ROOT / "README.md") if code.lstrip().startswith("# train.py"))
    (tmp_path / "train.py").write_text(code)
    done = subprocess.run(
        [*launcher, "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    check_scores("train.py", done.stdout, 1)


def test_readme_names_the_tested_versions() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    table = (ROOT / "README.md").read_text().partition("## Versions")[2].partition("\n## ")[0]
    named = dict(re.findall(r"^\| (\w+)(?: \(optional\))? \| ([\d.]+) \|", table, re.MULTILINE))
    assert {name: version for name, version in named.items() if name in pins and pins[name] != version} == {}
    assert {"pyspark", "torch", "horovod", "petastorm", "pyarrow", "numpy", "pandas", "mlflow"} <= set(named)
