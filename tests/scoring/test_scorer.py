"""Batches through a network in one process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.scoring.cache import LIMIT, loaded
from sparkdl.scoring.scorer import Scorer, ScorerSettings
from sparkdl.scoring.worker import choose_device
from sparkdl.spark.functions import TaskResources


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.sizes: list[int] = []

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.sizes.append(len(a))
        return self.norm(self.inner(a)), b.sum(1)


@pytest.mark.parametrize("rows", [1, 4, 5, 9])
def test_rows_at_once_change_nothing(rows: int) -> None:
    module = Watched()
    inputs = [torch.randn(rows, 3), torch.randint(0, 9, (rows, 2))]
    with torch.no_grad():
        expected = [*module.eval()(*inputs), module.inner(inputs[0])]
    module.train().sizes.clear()
    got = Scorer(module, ScorerSettings(batch_size=4, layers=("inner",)))(inputs)
    assert max(module.sizes) <= 4
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)
        assert not one.requires_grad
    assert not module.training


def test_precision_of_cpu() -> None:
    out = Scorer(nn.Linear(8, 1), ScorerSettings(precision="bf16"))([torch.randn(2, 8)])[0]
    assert out.dtype == torch.bfloat16
    with pytest.raises(SettingError, match="precision='fp16' needs device='cuda'"):
        Scorer(nn.Linear(8, 1), ScorerSettings(precision="fp16"))


def test_cache_is_bounded_and_loads_once() -> None:
    calls: list[str] = []

    def load(name: str) -> nn.Module:
        calls.append(name)
        return nn.Identity()

    names = [f"n{i}" for i in range(LIMIT)]
    first = [loaded(name, "cpu", lambda name=name: load(name)) for name in names]
    assert [loaded(name, "cpu", lambda: load("never")) for name in names] == first
    assert calls == names
    loaded("one more", "cpu", lambda: load("one more"))
    assert loaded("n1", "cpu", lambda: load("never")) is first[1]
    assert loaded("n0", "cpu", lambda: load("again")) is not first[0]
    assert calls == [*names, "one more", "again"]


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
    assert choose_device(device, TaskResources(gpus=gpus, partition=3), local) == expected


def test_cuda_without_a_gpu_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SettingError, match="device='cuda', but this task has no GPU"):
        choose_device("cuda", TaskResources(), True)
