"""README's Install, as it stands there: on the newest packages that the index has, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]

# What a user may do next.
FIT = """
import json

from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from sklearn.datasets import load_wine

import sparkdl


def accuracy(spark, **params):
    wine = load_wine(as_frame=True)
    frame = spark.createDataFrame(wine.frame)
    assembler = VectorAssembler(inputCols=wine.feature_names, outputCol="raw")
    scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
    classifier = sparkdl.TorchClassifier(
        labelCol="target", module="mlp", epochs=20, batchSize=32, learningRate=0.01, numProcs=2, seed=7, **params
    )
    model = Pipeline(stages=[assembler, scaler, classifier]).fit(frame)
    return MulticlassClassificationEvaluator(labelCol="target", metricName="accuracy").evaluate(model.transform(frame))


spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
"""
PROGRAM = f"""{FIT}
import importlib.metadata as metadata

import mlflow


def train():
    import horovod.torch as hvd

    hvd.init()
    return hvd.size()


found = {{"where": sparkdl.__file__, "ranks": sparkdl.HorovodRunner(np=-2).run(train)}}
found["accuracy"] = accuracy(spark, backend="horovod", verbose=0)
found["versions"] = {{name: metadata.version(name) for name in ("torch", "pyspark", "mlflow", "pyarrow", "pandas")}}
spark.stop()
print(json.dumps(found))
"""
CELL = f"""{FIT}
found = accuracy(spark, backend="torch")
spark.stop()
print(json.dumps({{"where": sparkdl.__file__, "accuracy": found}}))
"""


def commands_of_readme() -> str:
    """Return the commands of README's section Install, all its blocks, in their order."""
    section = (ROOT / "README.md").read_text().partition("\n## Install\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout and nothing else of ours: no caches, no paths to packages, kernels in a folder of their own."""
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "mlruns", "*results")
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=ignored)
    # A CUDA toolkit of another age lies about: the wheel for CPUs does not care.
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 11.0, V11.0.1'\n")
    nvcc.chmod(0o755)
    python = tmp_path / "python" / "python3"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    for name in list(os.environ):
        if name.startswith(("PYTHON", "PYSPARK", "VIRTUAL_ENV")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", os.pathsep.join([str(python.parent), str(nvcc.parent), os.environ["PATH"]]))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("PIP_CACHE_DIR", os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")))
    # Processes compile what they import: a few of these packages, not all of them.
    monkeypatch.setenv("PIP_NO_COMPILE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_readme_installs_builds_and_trains_on_the_newest_packages(machine: Path) -> None:
    commands = commands_of_readme()
    for part in ("pip install", "ipykernel install", "sparkdl-build-horovod"):
        assert part in commands
    program, log = machine / "program.py", machine / "log"
    program.write_text(PROGRAM)
    # In one shell, as a user has it: what one block has set, the next one finds.
    script = f"set -eu\n{commands}\ncd {machine}\npython {program}\n"
    installed = machine / "sparkdl-env"
    try:
        with log.open("w") as output:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=machine / "checkout",
                stdout=output,
                stderr=output,
                timeout=5000,
                check=False,
            )
        said = log.read_text()
        assert done.returncode == 0, said[-6000:]
        assert "(gloo) is installed and works" in said
        assert [path.name for path in (machine / "cache/sparkdl/horovod").iterdir() if "build-" in path.name] == []
        found = json.loads(said.splitlines()[-1])
        assert found["where"].startswith(f"{installed}/")
        assert found["ranks"] == 2
        assert found["accuracy"] > 0.97
        print(found["versions"])
        check_notebook(installed)
    finally:
        # Some gigabytes, and pytest keeps the folders of three runs.
        shutil.rmtree(installed, ignore_errors=True)


def check_notebook(installed: Path) -> None:
    """Train in the kernel that README makes: a Jupyter of another environment starts it by its name."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(
        notebook, timeout=600, kernel_name="sparkdl", resources={"metadata": {"path": str(installed.parent)}}
    ).execute()
    outputs = notebook.cells[0].outputs
    found = json.loads("".join(output.text for output in outputs if output.get("name") == "stdout").splitlines()[-1])
    assert found["where"].startswith(f"{installed}/")
    assert found["accuracy"] > 0.97
    # One output holds the bar, as HTML and as text.
    [shown] = [output.data for output in outputs if output.output_type == "display_data"]
    assert "<div" in shown["text/html"]
    assert "done in" in shown["text/plain"]
