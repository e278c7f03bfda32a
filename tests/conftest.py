"""What every test may ask for: one Spark session for the whole run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

ROOT = str(Path(__file__).resolve().parent.parent)

# Spark's workers and the programs that tests start unpickle functions of test modules by name,
# so they have to find the same modules as this process.
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (ROOT, os.environ.get("PYTHONPATH")) if p)
os.environ["PYSPARK_PYTHON"] = sys.executable
os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"


# Address of a Spark Connect server: then the shared session is one of Connect, and the core what makes sense there.
REMOTE = os.environ.get("SPARK_REMOTE")
CORE = tuple(
    line.split()[1]
    for line in (Path(__file__).parent / "versions" / ("connect.txt" if REMOTE else "core.txt"))
    .read_text()
    .splitlines()
    if line and not line.startswith("#")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the core, which is chosen in one place."""
    for item in items:
        if item.nodeid.startswith(CORE):
            item.add_marker(pytest.mark.core)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with two slots, shared by all tests."""
    if REMOTE:
        connected = SparkSession.builder.remote(REMOTE).getOrCreate()
        connected.conf.set("spark.sql.shuffle.partitions", "2")
        yield connected
        connected.stop()
        return
    session = (
        SparkSession.builder.master("local[2]")
        .appName("sparkdl-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def cpu_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that is built for CPUs, as far as its files say."""
    import torch

    folder = tmp_path / "cpu" / "torch"
    folder.mkdir(parents=True)
    (folder / "version.py").write_text("__version__ = '9.9+cpu'\ncuda = None\nhip = None\n")
    monkeypatch.setattr(torch, "__spec__", ModuleSpec("torch", None, origin=str(folder / "__init__.py")))
