"""Training steps through torch.compile: which batches are compiled, and that nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import SettingError
from sparkdl.train.compiled import Compiled
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import FitResult, fit


class Counting:
    """A backend of torch.compile that counts what it is given, and runs it as it is."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, graph: Any, inputs: list[torch.Tensor]) -> Any:
        self.rows += [len(tensor) for tensor in inputs if tensor.dim() == 2 and tensor.shape[1] == 4][-1:]
        return graph.forward


def network() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))


def test_only_training_batches_of_the_usual_shape_are_compiled() -> None:
    counting, module = Counting(), network()
    call = Compiled(module, {"backend": counting})
    for rows in (3, 10, 10, 10, 3, 10, 7, 7, 3):
        batch = torch.rand(rows, 4)
        torch.testing.assert_close(call(batch), module(batch))
    module.eval()
    torch.testing.assert_close(call(torch.rand(10, 4)).shape, (10, 1))
    assert counting.rows == [10]
    assert not any(name.startswith("_orig_mod") for name in module.state_dict())


def trained(memory_feed: Any, **settings: Any) -> FitResult:
    x = torch.randn(46, 4, generator=torch.Generator().manual_seed(5))
    feed = memory_feed(x, x[:, :1])
    config = TrainConfig(epochs=2, learning_rate=0.05, lr_schedule="OneCycleLR", **settings)
    return fit(network(), config, feed, feed, SoloBackend())


@pytest.mark.parametrize("parts", [1, 2])
def test_a_compiled_training_is_the_same_one(memory_feed: Any, parts: int) -> None:
    counting = Counting()
    plain = trained(memory_feed, accumulation_steps=parts)
    other = trained(memory_feed, accumulation_steps=parts, compile={"backend": counting})
    assert counting.rows == [10 // parts]
    assert plain.state.keys() == other.state.keys()
    for name, value in plain.state.items():
        torch.testing.assert_close(other.state[name], value, rtol=1e-4, atol=1e-5)
    assert other.history[-1]["val_loss"] == pytest.approx(plain.history[-1]["val_loss"], rel=1e-4)


def _fails(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("No working C++ compiler found in torch._inductor.config.cpp.cxx")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"mode": "fastest"}, r"invalid compile=.*: torch.compile on host .*fastest.*; give other arguments, or set"),
        ({"backend": "nothing"}, r"invalid compile=.*nothing.*; give other arguments, or set compile to False"),
        ({"backend": _fails}, r"invalid compile=.*No working C\+\+ compiler.*; install g\+\+ .*set compile to False"),
    ],
)
def test_what_cannot_be_compiled_is_one_sentence(memory_feed: Any, setting: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        trained(memory_feed, compile=setting)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_without_a_compiler_it_is_a_sentence_and_with_one_it_is_compiled(tmp_path: Any) -> None:
    program = """
import torch
from torch import nn
from sparkdl.train.compiled import Compiled
module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
call, batch = Compiled(module, True), torch.rand(8, 4)
for _ in range(3):
    torch.testing.assert_close(call(batch), module(batch))
call(batch).sum().backward()
print("compiled", module[0].weight.grad is not None)
"""
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    for compiler, said in (("/nowhere/g++", "install g++"), (None, "compiled True")):
        added = environment if compiler is None else {**environment, "CXX": compiler}
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **added}, capture_output=True, text=True, timeout=500
        )
        assert said in (done.stdout if compiler is None else done.stderr), done.stderr
