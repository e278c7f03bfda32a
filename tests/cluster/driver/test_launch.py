from __future__ import annotations

import os
import random
import re
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from sparkdl.cluster.driver import results
from sparkdl.cluster.driver.launch import launch, launch_local
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.prefork.client import server_folder
from sparkdl.cluster.prefork.prewarm import prewarm
from sparkdl.errors import ClusterError, RankError, RankLostError, StartTimeoutError
from sparkdl.events import EpochEnded, Listener, PhaseStarted, RankOutput, UserMessage, to_record
from sparkdl.spark.facts import SessionFacts

CALL = "sparkdl.cluster.rank.user_main:call"


class Heard(Listener):
    def __init__(self) -> None:
        self.events = []
        self.times = []

    def on_event(self, event):
        self.events.append(event)
        self.times.append(time.monotonic())


def run(spark, main, *, num_procs=2, listener=None, arguments=None, max_restarts=0, result_folder=None, **options):
    kwargs = {"main": main, "arguments": arguments or {}, "pass_context": True}
    how = {"listener": listener, "max_restarts": max_restarts, "result_folder": result_folder}
    return launch(spark, SessionFacts.read(spark), CALL, kwargs, Ranks(num_procs, **options), **how)


def leftovers(since: float) -> list[str]:
    """Rank and watchdog processes of this machine that are still there, and their folders."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status", "create_time"]):
        line = " ".join(process.info["cmdline"] or ())
        if process.info["create_time"] < since - 1:
            continue
        match = re.search(r"sparkdl-rank-(\d+)-", (process.info["cwd"] or "") + line)
        if process.info["status"] != psutil.STATUS_ZOMBIE and match and of_this_test(int(match[1])):
            found.append(f"{process.pid} {line[:80]}")
    return found


def of_this_test(task: int) -> bool:
    """Whether a task's process descends from this one; where it is gone nobody can tell, and it counts."""
    if task == os.getpid():
        return True
    try:
        return os.getpid() in [parent.pid for parent in psutil.Process(task).parents()]
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    begun = time.time()
    threads = {thread.name for thread in threading.enumerate()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    yield
    assert {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} == before
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    deadline = time.monotonic() + 15
    while (stays := leftovers(begun)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not stays
    ours = {t.name for t in threading.enumerate() if t.name.startswith("sparkdl-")} - threads
    assert not ours


def test_two_horovod_ranks_meet_and_rank_0_gives_the_value(spark):
    def main(context, factor):
        import horovod.torch as hvd
        import torch

        hvd.init()
        total = hvd.allreduce(torch.ones(3) * (hvd.rank() + 1) * factor, op=hvd.Sum)
        names = (
            "RANK",
            "WORLD_SIZE",
            "LOCAL_RANK",
            "OMP_NUM_THREADS",
            "HOROVOD_CYCLE_TIME",
            "MINE",
            "HOROVOD_GLOO_IFACE",
        )
        context.emit({"event": "UserMessage", "rank": context.rank, "text": os.getcwd()})
        return {
            "total": total.tolist(),
            "env": {name: os.environ.get(name) for name in names},
            "threads": (torch.get_num_threads(), context.threads),
            "context": (context.rank, context.size, context.local_rank, context.local_size, context.backend),
            "device": context.device,
            "stdin": os.fstat(0).st_rdev == os.stat("/dev/null").st_rdev,
        }

    heard = Heard()
    launched = run(spark, main, arguments={"factor": 2}, listener=heard, env={"MINE": "1"})
    assert launched.value["total"] == [6.0] * 3
    assert launched.value["env"] == {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "OMP_NUM_THREADS": "1",
        "HOROVOD_CYCLE_TIME": "0.3",
        "MINE": "1",
        "HOROVOD_GLOO_IFACE": "lo",
    }
    assert launched.value["threads"] == (1, 1)
    assert launched.value["context"] == (0, 2, 0, 2, "horovod")
    assert launched.value["stdin"]
    assert [outcome.rank for outcome in launched.outcomes] == [0, 1]
    assert set(launched.seconds) == {"total", "wait", "start", "run"}
    phases = [event.phase for event in heard.events if isinstance(event, PhaseStarted)]
    assert phases == ["wait", "start", "train"]
    folders = {event.text for event in heard.events if isinstance(event, UserMessage)}
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_events_come_while_the_ranks_run_and_lines_are_whole(spark):
    def main(context):
        import subprocess

        if context.rank == 0:
            context.emit(to_record(EpochEnded(epoch=1, logs={"loss": 0.5})))
            print("x" * 1_000_000)
        else:
            subprocess.run(["sh", "-c", "echo from a child >&2"], check=True)
            os.write(1, b"no newline")
        time.sleep(2)

    heard = Heard()
    launched = run(spark, main, listener=heard, verbosity="all", backend="torch")
    ended = time.monotonic()
    at = next(t for e, t in zip(heard.events, heard.times, strict=True) if isinstance(e, EpochEnded))
    assert ended - at > 1.5
    lines = {(e.rank, e.stream, e.line) for e in heard.events if isinstance(e, RankOutput)}
    assert {(0, "stdout", "x" * 1_000_000), (1, "stderr", "from a child"), (1, "stdout", "no newline")} <= lines
    assert launched.outcomes[1].log_tail.split("\n")[-2:] == ["from a child", "no newline"]


def test_the_first_failure_is_told_with_its_traceback_and_never_horovods(spark):
    def main(context):
        import horovod.torch as hvd
        import torch

        hvd.init()
        print(f"rank {hvd.rank()} speaks")
        for step in range(1000):
            hvd.allreduce(torch.ones(2), name="x")
            if hvd.rank() == 1 and step == 3:
                raise KeyError("lost key")

    begun = time.monotonic()
    with pytest.raises(RankError, match="rank 1 on host [^ ]+ failed: KeyError: 'lost key'") as caught:
        run(spark, main, max_restarts=2)
    assert not isinstance(caught.value, RankLostError)
    assert isinstance(caught.value.__cause__, KeyError)
    assert 'raise KeyError("lost key")' in caught.value.traceback_text
    assert "HorovodInternalError" not in str(caught.value)
    assert caught.value.log_tail == "rank 1 speaks"
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("sys.exit(0)", r"called sys.exit\(0\)"),
        ("os._exit(0)", "ended with exit code 0 before its function returned"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    ],
)
def test_a_rank_that_leaves_has_failed(spark, how, sentence):
    def main(context):
        import os
        import sys

        import horovod.torch as hvd
        import torch

        hvd.init()
        hvd.allreduce(torch.ones(2), name="x")
        if hvd.rank() == 1:
            print("last words")
            exec(how, {"os": os, "sys": sys})
        hvd.allreduce(torch.ones(2), name="y")

    with pytest.raises(RankLostError, match=f"rank 1 on host .* failed: it {sentence}[^$]*last words"):
        run(spark, main)


def test_a_lost_rank_is_started_again_and_a_users_error_is_not(spark, tmp_path, caplog):
    caplog.set_level("INFO", "sparkdl.cluster.driver")

    def main(context, folder):
        attempts = os.path.join(folder, f"attempt-{context.rank}")
        with open(attempts, "a") as file:
            file.write("x")
        if context.rank == 1 and os.path.getsize(attempts) == 1:
            os.kill(os.getpid(), 9)
        return os.path.getsize(attempts)

    heard = Heard()
    assert run(spark, main, arguments={"folder": str(tmp_path)}, max_restarts=1, listener=heard).value == 2
    assert [e.detail for e in heard.events if isinstance(e, PhaseStarted) and "restart" in e.detail] == [
        "restart 1 of 1 with 2 ranks"
    ]
    first, restart, second = caplog.messages
    assert first == second == "launching a barrier job of 2 ranks, backend horovod"
    assert restart.startswith("restart 1 of 1 with 2 ranks: rank 1 on host ")


def test_ranks_that_do_not_come_in_time(spark):
    def main(context):
        return None

    spark.conf.set("spark.sparkdl.warmRanks", "false")
    try:
        with pytest.raises(StartTimeoutError, match="within 0.5 s"):
            run(spark, main, start_timeout=0.5)
    finally:
        spark.conf.unset("spark.sparkdl.warmRanks")


def test_a_silent_rank_is_ended(spark):
    def main(context):
        import signal

        if context.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(100)

    with pytest.raises(RankLostError, match="rank 1 on host [^ ]+ failed: it gave no heartbeat for 2 s"):
        run(spark, main, heartbeat_timeout=2)


def test_torch_distributed_and_a_large_value(spark):
    def main(context):
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        total = torch.ones(2) * (dist.get_rank() + 1)
        dist.all_reduce(total)
        dist.destroy_process_group()
        return total.tolist(), os.urandom(1) * 20_000_000

    total, large = run(spark, main, backend="torch").value
    assert total == [3.0, 3.0]
    assert len(large) == 20_000_000


def test_one_rank_needs_no_backend(spark):
    def main(context):
        import sys

        import torch.distributed as dist

        loaded = [name for name in sys.modules if name.partition(".")[0] == "horovod"]
        met = [name for name in os.environ if name.startswith(("HOROVOD_", "MASTER_"))]
        return context.backend, os.environ["RANK"], os.environ["WORLD_SIZE"], loaded, met, dist.is_initialized()

    # A warm rank comes from a server that has imported Horovod for others.
    spark.conf.set("spark.sparkdl.warmRanks", "false")
    try:
        assert run(spark, main, num_procs=1).value == ("local", "0", "1", [], [], False)
    finally:
        spark.conf.unset("spark.sparkdl.warmRanks")


def test_two_launches_at_once_do_not_disturb_each_other(spark):
    def main(context, number, fail):
        time.sleep(0.5)
        if fail:
            raise ValueError(f"number {number}")
        return number, os.environ["MARK"]

    results = {}

    def start(number):
        try:
            results[number] = run(
                spark, main, num_procs=1, arguments={"number": number, "fail": number == 1}, env={"MARK": str(number)}
            ).value
        except RankError as error:
            results[number] = str(error.__cause__)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == {0: (0, "0"), 1: "number 1", 2: (2, "2")}


def test_cancelling_all_jobs_ends_the_ranks(spark):
    def main(context):
        context.emit(to_record(UserMessage(context.rank, "running")))
        time.sleep(600)

    class Cancel(Listener):
        def on_event(self, event):
            if isinstance(event, UserMessage):
                spark.sparkContext.cancelAllJobs()

    begun = time.monotonic()
    with pytest.raises(ClusterError, match="the barrier job of 2 ranks was cancelled"):
        run(spark, main, listener=Cancel())
    assert time.monotonic() - begun < 60


def test_an_interrupt_cancels_only_this_job(spark):
    def main(context):
        context.emit(to_record(UserMessage(context.rank, "running")))
        time.sleep(600)

    class Interrupt(Listener):
        def on_event(self, event):
            if isinstance(event, UserMessage):
                raise KeyboardInterrupt

    def other(context):
        time.sleep(3)
        return "not disturbed"

    results = []
    thread = threading.Thread(target=lambda: results.append(run(spark, other, num_procs=1).value))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(spark, main, num_procs=1, listener=Interrupt())
    thread.join(60)
    assert results == ["not disturbed"]


def test_without_the_prefork_server_ranks_are_fresh_interpreters(spark):
    def main(context):
        import sys

        return "sparkdl.cluster.prefork.server" in sys.modules

    assert run(spark, main, num_procs=1).value is True
    spark.conf.set("spark.sparkdl.warmRanks", "false")
    try:
        assert run(spark, main, num_procs=1).value is False
    finally:
        spark.conf.unset("spark.sparkdl.warmRanks")


def test_the_driver_of_a_local_master_starts_the_server_that_the_tasks_use(spark):
    assert prewarm(spark, SessionFacts.read(spark), CALL)
    folder = server_folder()
    assert folder is not None
    before = {path.name for path in folder.glob("*.sock")}
    assert run(spark, lambda context: context.rank, num_procs=1).value == 0
    assert server_folder() == folder
    assert {path.name for path in folder.glob("*.sock")} <= before


@pytest.fixture
def small_results(monkeypatch):
    """Let a rank send 2,000,000 bytes: a core setting is fixed once the context runs, `launch` reads the session's."""
    from sparkdl.spark import session

    real = session.conf_bytes
    monkeypatch.setattr(
        session, "conf_bytes", lambda s, key, default: 4_000_000 if "maxResultSize" in key else real(s, key, default)
    )


@pytest.mark.usefixtures("small_results")
def test_a_result_above_half_of_sparks_limit_comes_by_a_file(spark, monkeypatch, tmp_path):
    def main(context):
        return bytes(range(250)) * 20_000

    here = results.ResultFolder(str(tmp_path / "here"))
    monkeypatch.setattr(results, "local_folder", lambda: here)
    assert run(spark, main, num_procs=1).value == bytes(range(250)) * 20_000
    assert not (tmp_path / "here").exists()
    # Three parts, each read by a job of its own.
    shared = results.ResultFolder(f"local://{tmp_path}/shared", {"auto_mkdir": True})
    assert run(spark, main, num_procs=1, result_folder=shared).value == bytes(range(250)) * 20_000
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["result"]


@pytest.mark.usefixtures("small_results")
def test_a_result_without_a_place_is_refused_with_the_setting(spark, monkeypatch):
    def main(context):
        return bytes(3_000_000)

    monkeypatch.setattr(SessionFacts, "shares_host", False)
    with pytest.raises(
        ClusterError, match=r"rank 0 returned 3,000,\d+ bytes, but this driver takes 2,000,000 \(half of"
    ):
        run(spark, main, num_procs=1)


def test_ranks_on_the_drivers_host_without_spark(caplog):
    caplog.set_level("INFO", "sparkdl.cluster.driver")

    def main(context):
        import horovod.torch as hvd
        import torch

        hvd.init()
        print("shown")
        return float(hvd.allreduce(torch.ones(1), op=hvd.Sum))

    heard = Heard()
    kwargs = {"main": main, "arguments": {}, "pass_context": True}
    assert launch_local(CALL, kwargs, Ranks(2, verbosity="all"), listener=heard).value == 2.0
    assert sorted((e.rank, e.line) for e in heard.events if isinstance(e, RankOutput)) == [(0, "shown"), (1, "shown")]
    assert caplog.messages == ["starting 2 ranks on this host, backend horovod"]


def test_cuda_is_refused_where_there_is_none(spark):
    def main(context):
        return None

    if list(Path("/dev").glob("nvidia[0-9]*")):
        assert run(spark, main, num_procs=1, device="cuda").outcomes
    else:
        with pytest.raises(ClusterError, match="device='cuda', but rank 0 on host .* 0 visible GPUs for 1 ranks"):
            run(spark, main, num_procs=1, device="cuda")
