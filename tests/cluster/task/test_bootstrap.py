from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from pyspark import SparkFiles, cloudpickle

from sparkdl.cluster.driver.barrier_job import from_rows
from sparkdl.cluster.driver.pickling import driver_versions
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.job import ENVIRONMENT, Job
from sparkdl.cluster.task.bootstrap import check_versions, lacking, make_task, received, version_of

NEEDED = ("sparkdl", "pyarrow", "torch", "horovod")

# Stands in for Spark's worker on an executor: the task is unpickled and run where some modules do not exist.
EXECUTOR = """
import json, sys, types
missing = json.loads(sys.argv[1])
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in missing else real(name, package)
from pyspark import cloudpickle
import pyspark
class Info:
    address = "10.0.0.7:4711"
class Context:
    def partitionId(self): return 0
    def getTaskInfos(self): return [Info]
    def allGather(self, message): return [message]
pyspark.BarrierTaskContext = types.SimpleNamespace(get=Context)
task = cloudpickle.loads(sys.stdin.buffer.read())
rows = [row for batch in task(iter([1, 2])) for row in batch.to_pylist()]
print(json.dumps([{**row, "data": row["data"].decode()} for row in rows]))
"""


def test_equal_versions_pass_and_patch_releases_do_no_harm():
    versions = driver_versions()
    assert check_versions(versions, NEEDED) is None
    major, minor, *_ = versions["torch"].split(".")
    assert check_versions({**versions, "torch": f"{major}.{minor}.99+cu130"}, NEEDED) is None
    del versions["torch"]
    assert check_versions(versions, NEEDED) is None


def test_only_what_the_jobs_backend_needs_is_compared():
    versions = {**driver_versions(), "horovod": "0.1"}
    assert lacking(versions, Ranks(2, backend="torch").job("m:f", {}).packages) is None
    assert lacking(versions, Ranks(1, backend="horovod").job("m:f", {}).packages) is None
    found = lacking(versions, Ranks(2, backend="horovod").job("m:f", {}).packages)
    assert found.startswith(f"has horovod {version_of('horovod')}, the driver has 0.1: run sparkdl-build-horovod there")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"python": "3.7"}, f"has Python {sys.version_info[0]}.{sys.version_info[1]}, the driver has 3.7"),
        ({"torch": "1.2.3"}, f"has torch {version_of('torch')}, the driver has 1.2.3"),
        ({"sparkdl": "9.9"}, f"has sparkdl {version_of('sparkdl')}, the driver has 9.9"),
    ],
)
def test_the_first_difference_is_named(change, sentence):
    assert check_versions({**driver_versions(), **change}, NEEDED) == sentence


def test_what_is_missing_is_named():
    assert check_versions(driver_versions(), ("no_such_package",)) == "has no no_such_package"


def test_another_projects_sparkdl_is_named(tmp_path, monkeypatch):
    (tmp_path / "sparkdl").mkdir()
    (tmp_path / "sparkdl" / "__init__.py").write_text("raise ImportError('it needs keras')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "sparkdl"]:
        monkeypatch.delitem(sys.modules, name)
    found = check_versions(driver_versions(), ("sparkdl",))
    assert found == f"has no sparkdl-torch but another project's sparkdl ({tmp_path / 'sparkdl' / '__init__.py'})"


@pytest.mark.parametrize(
    ("missing", "named", "remedy"),
    [
        ("sparkdl", "sparkdl-torch", "install the same on all hosts"),
        ("torch", "torch", "install the same on all hosts"),
        (
            "horovod",
            "horovod",
            "run sparkdl-build-horovod there or bring the driver's wheel (docs/executors.md), or set backend='torch'",
        ),
    ],
)
def test_an_executor_without_a_package_answers_with_its_host(missing, named, remedy):
    job = replace(Ranks(2, backend="horovod", start_timeout=5.0).job("m:f", {}), num_procs=1)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTOR, json.dumps([missing])],
        input=cloudpickle.dumps(make_task(job.to_bytes())),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    rows = [{**row, "data": row["data"].encode()} for row in json.loads(done.stdout)]
    (outcome,) = from_rows(rows)
    assert outcome.kind == ENVIRONMENT
    assert outcome.message == (f"the executor at 10.0.0.7:4711 ({sys.executable}) has no {named}: {remedy}")


def test_what_was_sent_by_file_is_closed_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(SparkFiles, "get", lambda name: str(tmp_path / name))
    (tmp_path / "sent").write_bytes(b"blob")
    (tmp_path / "sent").chmod(0o644)
    assert received("sent") == b"blob"
    assert (tmp_path / "sent").stat().st_mode & 0o777 == 0o600


def test_a_job_of_which_a_part_was_sent_by_file_is_whole_again(tmp_path, monkeypatch):
    monkeypatch.setattr(SparkFiles, "get", lambda name: str(tmp_path / name))
    job = Ranks(1).job("m:f", {"weights": bytes(1000)})
    plain, line_end, blobs = job.to_bytes().partition(b"\n")
    (tmp_path / "sent").write_bytes(blobs)
    assert job.secret.encode() not in blobs
    seen = []
    task = make_task(plain + line_end, "sent")
    run = inspect.getclosurevars(task).nonlocals["run"]
    monkeypatch.setitem(run.__globals__, "_answer", lambda data, batches: seen.append(data) or iter(()))
    assert list(task(iter(()))) == []
    assert [Job.from_bytes(data) for data in seen] == [job]
