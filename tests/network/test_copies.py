from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.copies import copied


class Uncopied:
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ValueError("not today\nnor tomorrow")


def network(name: str, value: Any) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    setattr(module[1][0], name, value)
    return module


def test_a_copy_is_apart() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    twin = copied(module)
    assert torch.equal(twin[0].weight, module[0].weight)  # type: ignore[index]
    assert twin[0].weight is not module[0].weight  # type: ignore[index]
    assert not twin.training


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (threading.Lock(), r"'1.0.part' is a _thread.lock \(TypeError: .*\): make it in forward"),
        (torch.ones(2, requires_grad=True) * 2, "'1.0.part' is a tensor that was computed from others .*detach"),
        ([1, {"a": Uncopied()}], r"'1.0.part' is a list \(ValueError: not today\): make it in forward"),
    ],
)
def test_what_cannot_be_copied_is_named(value: Any, sentence: str) -> None:
    with pytest.raises(
        NetworkError, match="the network Sequential cannot be copied, because its attribute " + sentence
    ) as error:
        copied(network("part", value))
    assert "\n" not in str(error.value)


def test_a_network_that_refuses_as_a_whole() -> None:
    class Whole(nn.Module):
        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            raise RuntimeError("one of a kind")

    with pytest.raises(NetworkError, match=r"Whole cannot be copied \(RuntimeError: one of a kind\), and every rank"):
        copied(Whole())
