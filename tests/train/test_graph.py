"""Steps as a CUDA graph: which networks are safe, and on a GPU the same results as without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.nn import MLP
from sparkdl.train import Callback, EarlyStopping
from sparkdl.train import step as step_module
from sparkdl.train.config import TrainConfig
from sparkdl.train.graph import can_be_graphed
from sparkdl.train.loop import fit
from tests.train.loops import SOLO


class _Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _hooked() -> nn.Module:
    layer = nn.Linear(2, 1)
    layer.register_forward_pre_hook(lambda module, given: None)
    return nn.Sequential(layer)


def _loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).square().mean(1)


@pytest.mark.parametrize(
    ("module", "changes", "expected"),
    [
        (MLP(inputs=2, outputs=1, hidden=[4]), {}, True),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()), {"losses": (nn.HuberLoss,)}, True),
        (nn.Sequential(nn.Linear(2, 2), _Own()), {}, False),
        (_hooked(), {}, False),
        (nn.LSTM(2, 2), {}, False),
        (nn.Linear(2, 1), {"losses": (_loss,)}, False),
        (nn.Linear(2, 1), {"callbacks": (EarlyStopping("loss"),)}, True),
        (nn.Linear(2, 1), {"callbacks": (type("Own", (Callback,), {})(),)}, False),
        (nn.Linear(2, 1), {"precision": "fp16"}, False),
    ],
)
def test_only_what_does_the_same_for_every_batch_can_be_a_graph(
    module: nn.Module, changes: dict[str, Any], expected: bool
) -> None:
    assert can_be_graphed(module, TrainConfig(**{"losses": ("mse",), **changes})) is expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_graph_trains_as_kernels_one_by_one_do(memory_feed: Any, monkeypatch: Any, dropout: float) -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(235, 4, generator=generator)
    feed = memory_feed(x, x.sum(1, keepdim=True), torch.arange(235).float() % 3 + 1)
    results = []
    for graphs in (False, True):
        monkeypatch.setattr(step_module, "can_be_graphed", lambda module, config, graphs=graphs: graphs)
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        config = TrainConfig(losses=("mse",), metrics=("mae",), device="cuda", epochs=3, learning_rate=0.05)
        results.append(fit(network, config, feed, feed, SOLO))
    eager, graphed = results
    losses = [[row["loss"] for row in result.history] for result in results]
    assert losses[1] == pytest.approx(losses[0], rel=0.2 if dropout else 1e-3)
    if not dropout:
        torch.testing.assert_close(graphed.state, eager.state, rtol=1e-3, atol=1e-4)
