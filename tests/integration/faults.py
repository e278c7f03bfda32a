"""Faults that ranks meet for real, each once: signals, files that cannot be written, peers that never come."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch
from pyspark.sql import DataFrame, SparkSession

from sparkdl import TorchRegressor
from sparkdl.train import Callback, TrainState

ROWS, BATCH, EPOCHS = 200, 32, 3
STEPS = 7
TIMES = {"seconds", "rows_per_second", "wait_share"}
SMALL_FILE = 4096
PATIENCE = 60.0


def rows_of(spark: SparkSession) -> DataFrame:
    return spark.range(ROWS, numPartitions=3).selectExpr(
        "array(cast(id % 7 as float), cast(id % 3 as float)) features", "cast(id % 7 + id % 3 as double) label"
    )


def regressor(**params: Any) -> TorchRegressor:
    """A small network with random numbers of its own on two ranks."""
    common: dict[str, Any] = {
        "module": "mlp",
        "moduleParams": {"hidden": [8], "dropout": 0.2},
        "batchSize": BATCH,
        "learningRate": 0.01,
        "epochs": EPOCHS,
        "numProcs": 2,
        "seed": 5,
        "verbose": 0,
    }
    return TorchRegressor(**{**common, **params})


def outcome(model: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """What a disturbed fit must share with an undisturbed one: weights and history, without times."""
    history = [{name: value for name, value in row.items() if name not in TIMES} for row in model.history]
    return model.network.state_dict(), history


def assert_same(one: Any, other: Any) -> None:
    """The same weights and history, and each row was used once in each epoch."""
    assert_equal(one, other)
    assert all(row["rows"] == ROWS for row in one.history)


def assert_equal(one: Any, other: Any) -> None:
    (weights, history), (others, expected) = outcome(one), outcome(other)
    assert history == expected
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


class Trace(Callback):
    """Notes in a folder which processes and working folders the ranks had."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_begin(self, state: TrainState) -> None:
        # The watchdog is the parent; a task's number is in the name of the rank's folder.
        seen = {"pids": [os.getpid(), os.getppid()], "folder": os.getcwd(), "rank": state.rank}
        Path(self.folder, f"rank-{os.getpid()}.json").write_text(json.dumps(seen))


def traces(folder: str | Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob("rank-*.json"))]


def assert_gone(folder: str | Path, at_least: int) -> None:
    """No rank that `Trace` has seen lives, nor its watchdog, nor its working folder."""
    found = traces(folder)
    assert len(found) >= at_least, found
    pids = [pid for trace in found for pid in trace["pids"]]
    assert wait_for(lambda: not any(alive(pid) for pid in pids), 20), [pid for pid in pids if alive(pid)]
    assert wait_for(lambda: not any(os.path.exists(trace["folder"]) for trace in found), 10), found


def left_in(temporary: Path) -> list[str]:
    """What we have left in a temporary folder; a prefork server stays for the next fit, for a minute."""
    names = [path.name for path in temporary.iterdir() if path.name.startswith("sparkdl")]
    return [name for name in names if not name.startswith("sparkdl-prefork-")]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Faults(Callback):
    """At given steps, something happens to a rank; once for each, whatever restarts follow.

    Parameters
    ----------
    folder : str
        Of markers, which all ranks see.
    plan : sequence of (step, rank, name)
        Name of a method below, or of a fault of files: "sigkill@open:state.safetensors".
    """

    def __init__(self, folder: str, plan: Sequence[tuple[int, int, str]]) -> None:
        self.folder = folder
        self.plan = [tuple(each) for each in plan]
        self.waits_for_file = False

    def on_step_end(self, state: TrainState) -> None:
        if self.waits_for_file:
            # Files are written beside the steps: what happens then comes before the next fault of the plan.
            time.sleep(5)
        for step, rank, name in self.plan:
            if state.step != step:
                continue
            if name == "killed_in_all_reduce":
                self.all_reduce(state, rank, f"{step}-{rank}-{name}")
            elif state.rank == rank and self.first(f"{step}-{rank}-{name}"):
                fault, _, where = name.partition("@")
                if where:
                    event, _, path = where.partition(":")
                    on_file(event, path, lambda fault=fault: getattr(self, fault)())
                    self.waits_for_file = fault == "sigkill"
                else:
                    getattr(self, name)()

    def first(self, name: str) -> bool:
        try:
            os.close(os.open(Path(self.folder, f"{name}.fault"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def sigkill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def leaves(self) -> None:
        os._exit(3)

    def stops(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def loses_executor(self) -> None:
        """The executor of this rank's task is killed, and with it what it has started."""
        executor = executor_of_this_rank()
        assert "CoarseGrainedExecutorBackend" in " ".join(executor.cmdline())
        executor.kill()
        time.sleep(600)

    def loses_worker(self) -> None:
        """The whole host is gone: its worker, and the executor."""
        executor = executor_of_this_rank()
        worker = executor.parent()
        assert worker is not None
        assert "deploy.worker.Worker" in " ".join(worker.cmdline())
        worker.kill()
        executor.kill()
        time.sleep(600)

    def raises(self) -> None:
        raise ArithmeticError("mine")

    def waits(self) -> None:
        """Say that this point is reached, and stay until somebody ends this rank."""
        Path(self.folder, "here").touch()
        time.sleep(600)

    def fills_the_disk(self) -> None:
        """No file of this rank can have more bytes; the kernel says so, as it does of a disk that is full."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, resource.RLIM_INFINITY))

    def frees_the_disk(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def all_reduce(self, state: TrainState, rank: int, marker: str) -> None:
        """The rank is killed by the other one while it waits for that one in an all-reduce."""
        waiting, killed = (Path(self.folder, f"{marker}.{word}") for word in ("waiting", "killed"))

        def kill() -> None:
            assert wait_for(lambda: waiting.exists() and waiting.read_text())
            killed.touch()
            os.kill(int(waiting.read_text()), signal.SIGKILL)

        # A checkpoint may come first, for which the ranks need each other: both go on to their next all-reduce.
        if state.rank == rank:
            if self.first(marker):
                on_call("all_reduce", lambda: waiting.write_text(str(os.getpid())))
        elif not killed.exists():
            on_call("all_reduce", kill)


def executor_of_this_rank() -> psutil.Process:
    # The folder's name has the process of the task: its parents are the daemon of the workers and the executor.
    found: psutil.Process = psutil.Process(int(os.path.basename(os.getcwd()).split("-")[2])).parents()[1]
    return found


def on_call(name: str, action: Callable[[], object]) -> None:
    """Call `action` the next time that this thread enters a function of that name."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == name:
            sys.setprofile(None)
            action()

    sys.setprofile(profile)


def on_file(event: str, part: str, action: Callable[[], None]) -> None:
    """Call `action` in this process the next time that it opens, renames or makes a file with `part` in its path."""
    armed = [True]
    lock = threading.Lock()

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if armed[0] and name == event and part in str(arguments[0]):
            with lock:
                fires, armed[0] = armed[0], False
            if fires:
                action()

    sys.addaudithook(hook)


class Seen(Callback):
    """Notes the first number of each row that a rank trains on, step by step."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_begin(self, state: TrainState) -> None:
        rows: list[float] = []
        state.module.register_forward_pre_hook(lambda _, inputs: rows.extend(inputs[0][:, 0].tolist()))
        self.rows = rows

    def on_step_end(self, state: TrainState) -> None:
        with open(Path(self.folder, f"seen-{state.size}-{state.rank}.jsonl"), "a") as file:
            file.write(json.dumps([state.epoch, state.step, self.rows]) + "\n")
        self.rows.clear()

    def state_dict(self) -> dict[str, Any]:
        return {}


def seen(folder: str | Path) -> dict[int, list[float]]:
    """The rows of each epoch; a step that was taken again, with fewer ranks, counts as it was then."""
    steps: dict[tuple[int, int], dict[int, list[float]]] = {}
    for path in Path(folder).glob("seen-*.jsonl"):
        size = int(path.name.split("-")[1])
        for line in path.read_text().splitlines():
            epoch, step, rows = json.loads(line)
            steps.setdefault((epoch, step), {}).setdefault(size, []).extend(rows)
    epochs: dict[int, list[float]] = {}
    for (epoch, _), sizes in sorted(steps.items()):
        epochs.setdefault(epoch, []).extend(sizes[min(sizes)])
    return epochs


class Away(Callback):
    """The folder of the checkpoints is a file from one step on, and back at the end of an epoch."""

    def __init__(self, folder: str, step: int, epoch: int) -> None:
        self.folder, self.step, self.epoch = folder, step, epoch

    def on_step_end(self, state: TrainState) -> None:
        if state.rank == 0 and state.step == self.step:
            os.rename(self.folder, f"{self.folder}.away")
            Path(self.folder).touch()

    def on_epoch_end(self, state: TrainState) -> None:
        if state.rank == 0 and state.epoch == self.epoch:
            os.unlink(self.folder)
            os.rename(f"{self.folder}.away", self.folder)
