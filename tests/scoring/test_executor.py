"""What a task does with its batches: device, threads, several models side by side, one load of each."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.schema import ARRAY, INPUT, Field
from sparkdl.scoring import executor, model_cache
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.spark.functions import TaskResources

PLAN = ScoringPlan(
    (Field("x", INPUT, ARRAY, ("x",), "float32", (2,)),), GenericHead(("y",), ((),)), (), ScorerSettings(), "keep"
)


class Threads(nn.Module):
    """Returns a number of its own and how many threads torch may take."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x),), self.number + torch.get_num_threads())


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that were loaded; a file's name ends with its network's number."""
    names: list[str] = []

    def fetch(name: str) -> nn.Module:
        names.append(name)
        return Threads(float(name.rpartition("-")[2]))

    before = torch.get_num_threads()
    monkeypatch.setattr(model_cache, "_LOADED", OrderedDict())
    monkeypatch.setattr(executor, "fetch", fetch)
    yield names
    torch.set_num_threads(before)


@pytest.mark.parametrize("cpus", [1, 2])
def test_models_side_by_side_take_the_threads_of_the_task(
    cpus: int, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "task_resources", lambda: TaskResources(cpus=cpus))
    batches = [[pa.array([[1.0, 2.0]] * rows, pa.list_(pa.float32()))] for rows in (3, 1)]
    batches.append([pa.array([None, [1.0, 2.0]], pa.list_(pa.float32()))])
    # Two functions of one query pull their batches in turns; the next task finds both networks.
    for _ in range(2):
        running = [executor.score_batches(PLAN, f"net-{number}", True, iter(batches)) for number in (100, 200)]
        for first, second in zip(*running, strict=True):
            ours, theirs = first.to_pylist(), second.to_pylist()
            assert [v for v in ours if v is not None] == [100.0 + cpus] * (3 if len(ours) == 3 else 1)
            assert [None if v is None else v + 100 for v in ours] == theirs
    assert fetched == ["net-100", "net-200"]


def test_a_worker_stays_as_it_was_for_other_code(fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "task_resources", lambda: TaskResources(cpus=2))
    torch.set_num_threads(1)
    frozen = gc.get_freeze_count()
    scored = executor.score_batches(PLAN, "net-100", True, iter([[pa.array([[1.0, 2.0]], pa.list_(pa.float32()))]] * 3))
    assert next(scored).to_pylist() == [102.0]
    assert torch.get_num_threads() == 1
    assert len(list(scored)) == 2
    assert (torch.get_num_threads(), gc.get_freeze_count()) == (1, frozen)


def test_threads_are_given_back_after_an_error(fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "task_resources", lambda: TaskResources(cpus=2))
    monkeypatch.setattr(ScoringPlan, "repaired", lambda *_: 1 / 0)
    torch.set_num_threads(1)
    with pytest.raises(ZeroDivisionError):
        list(executor.score_batches(PLAN, "net-100", True, iter([[pa.array([[1.0, 2.0]], pa.list_(pa.float32()))]])))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("device", "gpus", "local", "visible", "expected"),
    [
        ("auto", (), True, 0, "cpu"),
        ("cpu", ("0",), True, 4, "cpu"),
        ("auto", ("2",), False, 4, "cuda:2"),
        ("auto", ("5",), False, 1, "cuda:0"),
        ("auto", (), False, 4, "cpu"),
        ("auto", (), True, 2, "cuda:1"),
    ],
)
def test_device_of_a_task(
    device: str, gpus: tuple[str, ...], local: bool, visible: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    assert executor.choose_device(device, TaskResources(gpus=gpus, partition=3), local) == expected


def test_cuda_without_a_gpu_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SettingError, match="device='cuda', but this task has no GPU"):
        executor.choose_device("cuda", TaskResources(), True)


WITHOUT_PANDAS = """
import sys

import pyarrow as pa
import torch

from sparkdl.data.write.pack_task import WriteTask
from sparkdl.schema import ARRAY, INPUT, SCALAR, VECTOR, DataSchema, Field
from sparkdl.scoring.outputs import ClassificationHead, GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import Scorer, ScorerSettings

with pa.OSFile(sys.argv[1]) as file:
    rows = pa.ipc.open_file(file).get_batch(0)
kinds = {"list": (ARRAY, (2,)), "vector": (VECTOR, (2,)), "number": (SCALAR, (1,))}
fields = [Field(name, INPUT, kind, (name,), "float32", shape) for name, (kind, shape) in kinds.items()]
for field in fields:
    network = torch.nn.Linear(field.shape[0], 3)
    for head in (ClassificationHead("raw", "probability", "prediction", 3), GenericHead(("y",), ((3,),))):
        plan = ScoringPlan((field,), head, (), ScorerSettings(), "keep")
        plan.score(Scorer(network, ScorerSettings()), [[rows.column(field.name)]])
packed = DataSchema((fields[0], fields[2]))
renamed = pa.RecordBatch.from_arrays([rows.column("list"), rows.column("number")], ["c0", "c1"])
assert list(WriteTask(packed, url=sys.argv[2])(iter([renamed])))
print("pandas" in sys.modules)
"""


def test_workers_score_and_pack_numbers_arrays_and_vectors_without_pandas(tmp_path: Path) -> None:
    """Its import takes time and memory in each of Spark's workers."""
    vector = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    columns = {
        "list": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32())),
        "vector": pa.array(
            [{"type": 1, "values": [1.0, 2.0]}, {"type": 0, "size": 2, "indices": [1], "values": [4.0]}], vector
        ),
        "number": pa.array([1.0, 2.0]),
    }
    rows = pa.RecordBatch.from_pydict(columns)
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write(rows)
    command = [sys.executable, "-c", WITHOUT_PANDAS, str(tmp_path / "rows.arrow"), str(tmp_path / "packed")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
