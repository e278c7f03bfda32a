"""What is special to Spark Connect: a session without a JVM, on a server with its own disk and its own workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys, tempfile
from pathlib import Path
import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import SparkSession
from sparkdl import HorovodRunner, SparkDLError, TorchClassificationModel, TorchClassifier
from sparkdl.spark import files, session
from sparkdl.spark.facts import SessionFacts

folder = Path(sys.argv[1])
tempfile.tempdir = str(folder / "client")
Path(tempfile.tempdir).mkdir()
spark = SparkSession.builder.getOrCreate()
facts = SessionFacts.read(spark)
assert facts.connect and facts.local and not facts.shares_host
assert session.task_slots(spark, facts) == 2

def refused(name, call):
    try:
        call()
    except SparkDLError as error:
        print("REFUSED", name, str(error).splitlines()[0], flush=True)

def size(blob, factor):
    return len(blob) * factor

def fail():
    raise ArithmeticError("mine")

refused("user", lambda: HorovodRunner(np=1).run(fail))
# More than a message of Connect holds.
print("SIZE", HorovodRunner(np=1, device="cpu").run(size, blob=bytes(140 << 20), factor=2), flush=True)
refused("ranks", lambda: HorovodRunner(np=3).run(size, blob=b"", factor=1))
refused("profile", lambda: HorovodRunner(np=1, task_resources={"gpu": 1}).run(size, blob=b"", factor=1))

rows = [([float(i % 2), float(i % 3)], i % 2) for i in range(60)]
frame = spark.createDataFrame(rows, "features array<double>, label int")
clf = TorchClassifier(module="mlp", epochs=2, batchSize=20, numProcs=2, seed=3, verbose=0, learningRate=0.1)
model = Pipeline(stages=[clf]).fit(frame)
trained = model.stages[0]
direct = clf.copy({clf.getParam("feed"): "direct"}).fit(frame)
print("DIRECT", [row["loss"] for row in direct.history] == [row["loss"] for row in trained.history], flush=True)
place = str(folder / "saved [1]" / "model")
trained.save(place)
refused("exists", lambda: trained.save(place))
(Path(place) / "network.pkl").write_bytes(b"left by an earlier one")
trained.write().overwrite().save(place)
print("FILES", sorted(p.name for p in Path(place).iterdir() if not p.name.startswith(".")), flush=True)
refused("scheme", lambda: trained.save("file://" + place + "-new"))
refused("nothing", lambda: TorchClassificationModel.load(place + "-none"))
loaded = TorchClassificationModel.load("file:" + place)
expected = [row["prediction"] for row in model.transform(frame).collect()]
assert [row["prediction"] for row in loaded.transform(frame).collect()] == expected
whole = str(folder / "pipeline")
model.write().overwrite().save(whole)
again = PipelineModel.load(whole)
assert [row["prediction"] for row in again.transform(frame).collect()] == expected
# Larger than a piece in which files are copied back.
big = folder / "big"
big.mkdir()
content = np.random.default_rng(0).integers(0, 256, (4 << 20) * 2 + 5, np.uint8).tobytes()
(big / "a b%20{x}.bin").write_bytes(content)
# Spark does not see it.
(big / "empty").touch()
files.upload(spark, big, str(folder / "copy"))
with files.downloaded(spark, str(folder / "copy")) as back:
    found = {p.name: p.read_bytes() for p in back.iterdir()}
assert found == {"a b%20{x}.bin": content}, {name: len(data) for name, data in found.items()}
print("ACCURACY", np.mean([p == label for p, (_, label) in zip(expected, rows)]), flush=True)
print("LEFT", sorted(p.name for p in Path(tempfile.tempdir).glob("sparkdl*")), flush=True)
spark.stop()
"""


def test_a_session_without_a_jvm(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TMPDIR": str(tasks),
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/versions/connect_server.py"), sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    refused = {line[1]: line[2] for line in lines if line[0] == "REFUSED"}
    assert "ArithmeticError: mine" in refused["user"]
    assert f"SIZE {280 << 20}" in done.stdout
    assert refused["ranks"].startswith("np=3 needs 3 task slots, this cluster has 2: lower np or start the server with")
    assert refused["profile"].startswith("taskResources={gpu: 1} needs a cluster, a local master has one kind of task")
    assert "exists already: use write().overwrite()" in refused["exists"]
    assert "over Spark Connect a stage is saved to an absolute path without a scheme" in refused["scheme"]
    assert "there is nothing to load" in refused["nothing"]
    assert "FILES ['history.json', 'metadata', 'network.json', 'weights.safetensors']" in done.stdout
    assert "ACCURACY 1.0" in done.stdout
    assert "DIRECT True" in done.stdout
    assert "LEFT []" in done.stdout
    # The rows of the fit lay in a folder of the server's host.
    assert not [path for path in tasks.glob("sparkdl-*") if not path.name.startswith("sparkdl-prefork-")]
