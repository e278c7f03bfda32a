from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sparkdl import HorovodRunner
from sparkdl.cluster.rank import context
from sparkdl.errors import ClusterError, RankError, RankLostError, SettingError
from sparkdl.events import RankOutput, UserMessage
from sparkdl.horovod import log_to_driver
from sparkdl.report.logs import LogPrinter


def train(steps):
    """What a Databricks user writes: it calls hvd.init() itself."""
    import horovod.torch as hvd
    import torch

    hvd.init()
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = hvd.DistributedOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.1), named_parameters=model.named_parameters()
    )
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    generator = torch.Generator().manual_seed(hvd.rank())
    losses = []
    for _ in range(steps):
        x = torch.randn(64, 4, generator=generator)
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"plain output of rank {hvd.rank()}")
    log_to_driver(f"rank {hvd.rank()} of {hvd.size()} ends at {os.path.basename(os.getcwd())[:12]}")
    return losses[0], losses[-1]


def test_it_trains_on_two_ranks_and_only_log_to_driver_speaks(spark, capsys):
    first, last = HorovodRunner(np=2).run(train, steps=30)
    assert last < first / 10
    said = sorted(capsys.readouterr().out.splitlines())
    assert said == ["[0] rank 0 of 2 ends at sparkdl-rank", "[1] rank 1 of 2 ends at sparkdl-rank"]


def test_all_shows_every_line_with_its_rank(spark, capsys):
    HorovodRunner(np=2, driver_log_verbosity="all").run(train, steps=1)
    said = capsys.readouterr().out.splitlines()
    assert {"[0] plain output of rank 0", "[1] plain output of rank 1"} <= set(said)
    assert len(said) == 4


def test_below_zero_the_ranks_are_on_the_driver_and_all_is_shown(capsys):
    first, last = HorovodRunner(np=-2).run(train, steps=30)
    assert last < first / 10
    assert "[1] plain output of rank 1" in capsys.readouterr().out.splitlines()


def test_one_rank_may_call_horovod_too(capsys):
    assert len(HorovodRunner(np=-1).run(train, steps=1)) == 2
    assert "[0] rank 0 of 1 ends at sparkdl-rank" in capsys.readouterr().out.splitlines()


def test_the_users_error_comes_back(spark):
    def main():
        raise ZeroDivisionError("by hand")

    with pytest.raises(RankError, match="rank [01] on host .* failed: ZeroDivisionError: by hand") as caught:
        HorovodRunner(np=2).run(main)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_arguments_may_come_without_their_names(spark):
    def main(first, second=0, *more, rate):
        return first, second, more, rate, os.environ["RANK"]

    assert HorovodRunner(np=1).run(main, 3, 4, 5, rate=0.1) == (3, 4, (5,), 0.1, "0")
    assert HorovodRunner(np=-1).run(main, "a", rate=None) == ("a", 0, (), None, "0")
    with pytest.raises(SettingError, match=r"argument 'positional'\[0\] .* cannot be sent to the ranks"):
        HorovodRunner(np=1).run(main, threading.Lock(), rate=0.1)


SCRIPT = """
import sys
import horovod.torch as hvd, torch
from beside import scale
from sparkdl.horovod import log_to_driver

if __name__ == "__main__":
    hvd.init()
    total = hvd.allreduce(torch.ones(1) * float(sys.argv[2]) * scale, op=hvd.Sum).item()
    log_to_driver(f"{sys.argv[1:]} {total} {__file__.startswith('/proc')}")
    if sys.argv[1] == "--leave" and hvd.rank() == 1:
        print("last words")
        sys.exit(5)
    if sys.argv[1] == "--fail":
        raise KeyError("of the script")
    sys.exit()
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The path of a program that no rank finds there, as executors without the driver's folders."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("scale = 10\n")
    monkeypatch.chdir(tmp_path)
    return "/proc/self/cwd/train.py"


@pytest.mark.parametrize("np", [2, -2])
def test_a_file_runs_on_each_rank_with_its_arguments(spark, script, capsys, np):
    assert HorovodRunner(np=np).run(script, "--scale", 2) is None
    said = sorted(line for line in capsys.readouterr().out.splitlines() if "scale" in line)
    assert said == [f"[{rank}] ['--scale', '2'] 40.0 False" for rank in range(2)]


def test_a_file_that_leaves_with_another_code_has_failed(spark, script):
    with pytest.raises(RankLostError, match=r"rank 1 on host .* failed: it called sys.exit\(5\)[^$]*last words"):
        HorovodRunner(np=2).run(Path(script), "--leave", 1)


def test_the_error_of_a_file_comes_back_with_its_line(spark, script):
    with pytest.raises(RankError, match="failed: KeyError: 'of the script'") as caught:
        HorovodRunner(np=2).run(script, "--fail", 1)
    assert isinstance(caught.value.__cause__, KeyError)
    assert 'raise KeyError("of the script")' in caught.value.traceback_text
    assert "sparkdl" not in caught.value.traceback_text.replace("sparkdl-rank", "")


def test_what_is_neither_a_function_nor_a_file_is_refused(tmp_path):
    runner = HorovodRunner(np=2)
    with pytest.raises(SettingError, match="invalid main=5: expected a function, or the path of a Python file"):
        runner.run(5)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="invalid main='train': the driver has no file .*/train"):
        runner.run("train")
    with pytest.raises(SettingError, match="invalid epochs=3: a Python file takes its arguments as a command line"):
        runner.run(tmp_path / "train.py", epochs=3)


def test_too_many_ranks_and_no_ranks_are_refused(spark):
    with pytest.raises(ClusterError, match="np=9 needs 9 task slots, this cluster has 2"):
        HorovodRunner(np=9).run(train, steps=1)
    with pytest.raises(SettingError, match="invalid np=0: expected a number of ranks"):
        HorovodRunner(np=0)
    with pytest.raises(SettingError, match="invalid np=2.5: expected an integer"):
        HorovodRunner(np=2.5)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="invalid driver_log_verbosity='some': expected 'all'"):
        HorovodRunner(np=2, driver_log_verbosity="some")


def test_a_main_that_cannot_be_sent_is_one_sentence(spark):
    def main():
        return spark.version

    with pytest.raises(SettingError, match="the name 'spark' that .*main uses .* cannot be sent to the ranks"):
        HorovodRunner(np=2).run(main)


def test_outside_a_rank_the_message_is_printed_here(capsys):
    assert context.current() is None
    log_to_driver("hello " + "x" * 5000)
    assert capsys.readouterr().out == "hello " + "x" * 5000 + "\n"


def test_printer_puts_the_rank_before_each_line(capsys):
    printer = LogPrinter()
    printer.on_event(RankOutput(1, "a line", "stderr"))
    printer.on_event(UserMessage(0, "two\nlines"))
    assert capsys.readouterr().out == "[1] a line\n[0] two\n[0] lines\n"
