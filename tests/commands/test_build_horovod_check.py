"""The check of an installed Horovod, by the one that is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_check import fault
from sparkdl.commands.build_horovod_steps import Log
from sparkdl.commands.build_horovod_tools import Torch, probe_torch


def test_it_works_for_its_own_torch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = probe_torch()
    # A rank's variables, as a notebook inside a rank would have them: the check is a rank of its own.
    monkeypatch.setenv("HOROVOD_RANK", "1")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    assert fault(torch, "gloo") is None
    wrong = fault(Torch("1.0.0", None), "gloo", Log(tmp_path / "log"))
    assert wrong is not None
    assert f"built for torch {torch.version}, this is torch 1.0.0" in wrong
    assert str(tmp_path / "log") in wrong


def test_a_cpu_wheel_is_no_gpu_wheel(tmp_path: Path) -> None:
    wrong = fault(probe_torch(), "nccl")
    assert wrong is not None
    assert "nccl_built() is" in wrong
    # The log of such a look is gone when it is over.
    assert "whole output" not in wrong
