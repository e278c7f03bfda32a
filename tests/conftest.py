"""What every test may ask for: one Spark session for all tests of a process."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sparkdl

ROOT = str(Path(__file__).resolve().parent.parent)

# Spark's workers and the programs that tests start unpickle functions of test modules by name,
# so they have to find the same modules as this process.
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (ROOT, os.environ.get("PYTHONPATH")) if p)
os.environ["PYSPARK_PYTHON"] = sys.executable
os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
# Each JVM lives for seconds or minutes: the optimising compiler and a collector of many threads cost more processor
# time than they save, a third of all that Spark takes to start and run its first queries.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
# Two runs of tests, or two processes of one (`make test`), do not find each other's temporary files. What pytest keeps
# for who looks at a failure stays where it was.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
TEMPORARY = tempfile.mkdtemp(prefix="tests-")
os.environ["TMPDIR"] = tempfile.tempdir = TEMPORARY
atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, and one of them all of tests/comm, where files share ranks."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/comm" if nodeid.startswith("tests/comm/") else str(super()._split_scope(nodeid))

    return ByFile(config, log)


_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit code for the end."""
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without taking the interpreter down: native threads of packages that tests have used still run.

    Where one of them (deltalake and pyarrow have such) comes back to Python in that moment, Python 3.11 ends the thread
    inside of C++ code, which ends the process: "FATAL: exception not rethrown", once in some ten runs, after all tests
    have passed. What ends in programs of users is looked at by tests that start such programs.
    """
    # `coverage run` writes its figures when the program has returned.
    if "coverage" not in sys.modules and _status in config.stash:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])


def _jar() -> str | None:
    """Return the jar of the Scala stages; none where `make jar` could not build it, for want of Maven."""
    try:
        return str(sparkdl.jar_path())
    except sparkdl.SparkDLError:
        return None


@pytest.fixture
def bridge(spark: SparkSession) -> SparkSession:
    """The shared session, where its JVM has the Scala stages."""
    if REMOTE:
        pytest.skip("a client of Spark Connect has no JVM")
    if _jar() is None:
        pytest.skip("there is no jar of the Scala stages for this pyspark: Maven and `make jar` build it")
    return spark


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
        .config("spark.driver.extraClassPath", _jar() or "")
        # Spark replaces a Python worker whose rows were refused: the next one has no need to import torch again.
        .config("spark.python.daemon.module", "sparkdl.daemon")
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


@pytest.fixture
def rows_planned_slowly(spark: SparkSession, tmp_path: Path) -> DataFrame:
    """Rows that take seconds to plan, of which the file "planning" is the beginning, and a minute to read."""
    pytest.importorskip("pyspark.sql.datasource", reason="this pyspark has no data sources in Python")
    from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

    begun = str(tmp_path / "planning")

    class Reader(DataSourceReader):
        def partitions(self):  # type: ignore[no-untyped-def]
            import pathlib
            import time

            pathlib.Path(begun).touch()
            time.sleep(4)
            return [InputPartition(0)]

        def read(self, partition):  # type: ignore[no-untyped-def]
            import time

            time.sleep(60)
            yield (0,)

    class Source(DataSource):
        @classmethod
        def name(cls) -> str:
            return "sparkdl_slow"

        def schema(self) -> str:
            return "id long"

        def reader(self, schema):  # type: ignore[no-untyped-def]
            return Reader()

    spark.dataSource.register(Source)
    return spark.read.format("sparkdl_slow").load()
