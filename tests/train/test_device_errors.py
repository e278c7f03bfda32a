"""A step that does not fit into memory, and an index that points nowhere on a GPU, are one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import NetworkError, SettingError
from sparkdl.train import loop
from sparkdl.train.config import TrainConfig


class Large(nn.Module):
    """Wants an exbibyte for more than two rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        wanted = x.new_empty(1 << 60 if len(x) > 2 else 1)
        return self.layer(x) + 0 * wanted[0].nan_to_num()


def test_memory_that_runs_out_is_a_sentence_and_parts_of_a_step_need_less(memory_feed: Any, device: str) -> None:
    feed = memory_feed(torch.rand(8, 3), torch.rand(8, 1), batch=4)
    with pytest.raises(
        SettingError, match=r"memory of (this host|the GPU) .* lower batchSize, or raise accumulationSteps \(now 1"
    ) as caught:
        loop.fit(Large(), TrainConfig(device=device), feed, None, SoloBackend())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "\n" not in str(caught.value)
    assert loop.fit(Large(), TrainConfig(device=device, accumulation_steps=2), feed, None, SoloBackend()).steps == 2


def test_other_errors_stay_what_they_are(memory_feed: Any) -> None:
    class Broken(Large):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("memory of a goldfish")

    with pytest.raises(RuntimeError, match="goldfish"):
        loop.fit(Broken(), TrainConfig(), memory_feed(torch.rand(8, 3), torch.rand(8, 1)), None, SoloBackend())


def test_a_failed_assertion_of_a_gpu_is_a_sentence(memory_feed: Any) -> None:
    class Asserting(Large):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")

    with pytest.raises(NetworkError, match=r"device='cpu' shows which one \(RuntimeError: CUDA error: .*triggered\)$"):
        loop.fit(Asserting(), TrainConfig(), memory_feed(torch.rand(8, 3), torch.rand(8, 1)), None, SoloBackend())
