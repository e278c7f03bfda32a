"""Numbers that point nowhere: the same sentence on a CPU, where torch raises, and before they go to a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import DataError
from sparkdl.train import loop
from sparkdl.train.config import TrainConfig
from sparkdl.train.device_network import DeviceNetwork
from sparkdl.train.indices import outside

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("values", "ignored", "expected"),
    [
        ([0, 2, 1], None, None),
        ([], None, None),
        ([0, 3], None, (0, 3)),
        ([-1, 2], None, (-1, 2)),
        ([-100, 2], -100, None),
        ([-100, -100], -100, None),
        ([-100, 5, 0], -100, (0, 5)),
        ([9, 1], 9, None),
    ],
)
def test_outside(values: list[int], ignored: int | None, expected: tuple[int, int] | None) -> None:
    assert outside(torch.tensor(values, dtype=torch.int64), 3, ignored) == expected
    assert outside(torch.tensor(values, dtype=torch.float32), 3, ignored) == expected


def network(module: nn.Module, **settings: Any) -> DeviceNetwork:
    return DeviceNetwork(module, TrainConfig(task="classification", losses=("cross_entropy",), **settings), CPU)


def labels_after(one_step: DeviceNetwork, good: Tensor, later: Tensor) -> str:
    """What is said of later labels, before they are copied, once good ones were evaluated."""
    rows = torch.rand(len(good), 4)
    one_step.objective(one_step.forward((rows,)), (good,), None)
    one_step.objective.check((good,))
    with pytest.raises(DataError) as caught:
        one_step.objective.check((later,))
    with pytest.raises(DataError) as raised_by_torch:
        one_step.objective(one_step.forward((rows,)), (later,), None)
    assert str(raised_by_torch.value) == str(caught.value)
    assert isinstance(raised_by_torch.value.__cause__, IndexError)
    return str(caught.value)


def test_a_label_outside_the_classes_is_the_same_sentence_before_the_copy_and_on_a_cpu() -> None:
    good, later = torch.tensor([[0], [2], [-100]]), torch.tensor([[0], [7], [-100]])
    said = "class labels reach from 0 to 7, the network has 3 outputs: labels must be 0 to 2"
    assert labels_after(network(nn.Linear(4, 3)), good, later) == said
    assert labels_after(network(nn.Linear(4, 3)), good.float(), later.float()) == said
    assert labels_after(network(nn.Linear(4, 3), class_weights=(1.0, 2.0, 1.0)), good, later) == said
    params = {"loss_params": ({"ignore_index": 7},)}
    assert labels_after(network(nn.Linear(4, 3), **params), later.clamp(min=0), torch.tensor([[0], [7], [3]])) == (
        "class labels reach from 0 to 3, the network has 3 outputs: labels must be 0 to 2"
    )


def test_a_label_without_a_class_weight_is_a_sentence_too() -> None:
    one_logit = network(nn.Linear(4, 1), class_weights=(1.0, 2.0))
    said = labels_after(one_logit, torch.tensor([[0], [1]]), torch.tensor([[0], [2]]))
    assert said == "class labels reach from 0 to 2, classWeights has 2 entries: labels must be 0 to 1"


def test_probabilities_are_no_labels() -> None:
    one_step, probabilities = network(nn.Linear(4, 3)), torch.rand(5, 3) * 9
    one_step.objective(one_step.forward((torch.rand(5, 4),)), (probabilities,), None)
    one_step.objective.check((probabilities,))


class Embedded(nn.Module):
    """Looks up the first two numbers of a row, or all of them, or what it makes of them."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.words, self.places, self.way = nn.Embedding(10, 3), nn.Embedding(5, 3), way
        self.bag = nn.EmbeddingBag(10, 3)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        if self.way == "whole":
            return self.words(codes).sum((1, 2)) + x[:, 0]
        if self.way == "columns":
            return (self.words(codes[:, 0]) + self.places(codes[:, 1:3]).sum(1)).sum(1)
        if self.way == "bag":
            return self.bag(codes).sum(1)
        return self.words(codes % 10).sum((1, 2))


@pytest.mark.parametrize(
    ("way", "at", "value", "said"),
    [
        ("whole", (2, 3), 10, "numbers from 0 to 10, which the network looks up in its embedding 'words' of 10 rows"),
        ("whole", (0, 0), -1, "numbers from -1 to 4, .*'words'"),
        ("columns", (3, 0), 12, "numbers from 0 to 12, .*'words' of 10 rows"),
        ("columns", (1, 2), 5, "numbers from 0 to 5, .*'places' of 5 rows: they must be 0 to 4"),
        ("bag", (1, 1), 11, "numbers from 0 to 11, .*'bag' of 10 rows"),
        ("columns", (1, 3), 99, None),
        ("made", (1, 3), 99, None),
    ],
)
def test_a_number_outside_an_embedding_is_a_sentence_in_the_first_step_and_later(
    way: str, at: tuple[int, int], value: int, said: str | None
) -> None:
    rows, good = torch.rand(4, 2), torch.arange(16).reshape(4, 4) % 5
    wrong = good.clone()
    wrong[at] = value
    embedded = DeviceNetwork(Embedded(way), TrainConfig(), CPU)
    embedded.forward((rows[:0], good[:0]))
    embedded.forward((rows, good))
    embedded._embedded.check((rows, good))
    if said is None:
        embedded._embedded.check((rows, wrong))
        return
    for later in ((rows, wrong), (rows.repeat(2, 1)[2:], torch.cat((good, good[:1], wrong))[3:])):
        with pytest.raises(DataError, match=said):
            embedded._embedded.check(later)
        with pytest.raises(DataError, match=said):
            embedded.forward(later)
    with pytest.raises(DataError, match=said):
        DeviceNetwork(Embedded(way), TrainConfig(), CPU).forward((rows, wrong))


def test_layers_keep_no_hooks_and_a_compiled_network_is_watched_too() -> None:
    module = Embedded("whole")
    compiled = torch.compile(module, backend="eager")
    inputs = (torch.rand(4, 2), torch.arange(16).reshape(4, 4) % 5)
    watched = DeviceNetwork(compiled, TrainConfig(), CPU)
    expected = watched.forward(inputs)[0]
    assert not module.words._forward_pre_hooks
    assert torch.equal(watched.forward(inputs)[0], expected)
    with pytest.raises(DataError, match="embedding 'words'"):
        watched._embedded.check((inputs[0], inputs[1] + 9))


@pytest.mark.parametrize("held", [False, True], ids=["in training", "in validation"])
@pytest.mark.parametrize("what", ["label", "input"])
def test_a_fit_names_them_on_each_device(memory_feed: Any, device: str, what: str, held: bool) -> None:
    codes, labels = torch.arange(40).reshape(20, 2) % 10, torch.arange(20).reshape(20, 1) % 3
    module = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(8, 3))
    good = memory_feed(codes, labels)
    codes, labels = codes.clone(), labels.clone()
    if what == "label":
        labels[15] = 3
    else:
        codes[15] = 10
    wrong = memory_feed(codes, labels)
    config = TrainConfig(task="classification", losses=("cross_entropy",), device=device)
    said = (
        "class labels reach from 0 to 3, the network has 3 outputs" if what == "label" else "embedding '0' of 10 rows"
    )
    with pytest.raises(DataError, match=said):
        loop.fit(module, config, good if held else wrong, wrong if held else None, SoloBackend())
