from __future__ import annotations

import os

import pytest

from sparkdl import HorovodRunner
from sparkdl.cluster import rank_state
from sparkdl.errors import ClusterError, RankError, SettingError
from sparkdl.horovod import log_to_driver
from sparkdl.report.listener import RankOutput, UserMessage
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


def test_too_many_ranks_and_no_ranks_are_refused(spark):
    with pytest.raises(ClusterError, match="np=9 needs 9 task slots, this cluster has 2"):
        HorovodRunner(np=9).run(train, steps=1)
    with pytest.raises(SettingError, match="np=0 is not a number of ranks"):
        HorovodRunner(np=0)
    with pytest.raises(SettingError, match="np=2.5 must be a whole number"):
        HorovodRunner(np=2.5)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="driver_log_verbosity='some' must be"):
        HorovodRunner(np=2, driver_log_verbosity="some")


def test_a_main_that_cannot_be_sent_is_one_sentence(spark):
    def main():
        return spark.version

    with pytest.raises(SettingError, match="the name 'spark' that .*main uses .* cannot be sent to the ranks"):
        HorovodRunner(np=2).run(main)


def test_outside_a_rank_the_message_is_printed_here(capsys):
    assert rank_state.current() is None
    log_to_driver("hello " + "x" * 5000)
    assert capsys.readouterr().out == "hello " + "x" * 5000 + "\n"


def test_printer_puts_the_rank_before_each_line(capsys):
    printer = LogPrinter()
    printer.on_event(RankOutput(1, "a line", "stderr"))
    printer.on_event(UserMessage(0, "two\nlines"))
    assert capsys.readouterr().out == "[1] a line\n[0] two\n[0] lines\n"
