from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from sparkdl.data.format.manifest import DataFile, FieldCount, Manifest
from sparkdl.errors import DataError, NetworkError
from sparkdl.fitting.labels import by_label, check_labels, label_order
from sparkdl.network.check import Outputs
from sparkdl.schema import ARRAY, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig


def rows(
    low: float, high: float, *, broken: int = 0, shape: tuple[int, ...] = (1,), dtype: str = "float32"
) -> Manifest:
    field = Field("label", LABEL, SCALAR if shape == (1,) else ARRAY, ("y",), dtype, shape)
    count = FieldCount(minimum=low, maximum=high, non_integers=broken, fraction=0.37 if broken else None)
    return Manifest("file:/rows", DataSchema((field,)), (DataFile("part-0", 0, 0, (9,), 1),), {"label": count})


CASES: list[tuple[Any, dict[str, Any], Manifest, tuple[int, ...], str]] = [
    (
        "cross_entropy",
        {},
        rows(0, 1, broken=40),
        (2,),
        "column 'y' has 40 labels that are not whole, such as 0.37, and",
    ),
    (
        nn.CrossEntropyLoss,
        {},
        rows(0, 1, broken=1),
        (3,),
        "1 label that is not whole, such as 0.37, and loss='CrossEnt",
    ),
    ("nll", {}, rows(0, 1, broken=2, shape=(5,)), (3, 5), "has 2 labels that are not whole"),
    ("cross_entropy", {}, rows(0, 7), (3,), "has the label 7, and the network's output tells 3 classes apart, 0 to 2"),
    ("cross_entropy", {}, rows(0, 2), (1,), "has the label 2, and the network's output tells 2 classes apart"),
    ("cross_entropy", {}, rows(-1, 2), (3,), "has the label -1, and loss='cross_entropy' learns classes that are numb"),
    ("bce_with_logits", {}, rows(0, 7), (1,), "has the label 7, and loss='bce_with_logits' takes labels from 0 to 1"),
    ("bce_with_logits", {}, rows(-0.5, 1), (1,), "has the label -0.5"),
    ("poisson", {}, rows(-2, 7), (1,), "has the label -2, and loss='poisson' takes labels of 0 or more"),
]


@pytest.mark.parametrize(("loss", "params", "train", "output", "sentence"), CASES)
def test_labels_that_a_loss_cannot_learn(
    loss: Any, params: dict[str, Any], train: Manifest, output: tuple[int, ...], sentence: str
) -> None:
    config = TrainConfig(losses=(loss,), loss_params=(params,) if params else ())
    with pytest.raises(DataError) as error:
        check_labels(config, (output,), train, None)
    assert sentence in str(error.value)
    with pytest.raises(DataError):
        check_labels(config, (output,), rows(0, 1, shape=train.schema.labels[0].shape), train)


@pytest.mark.parametrize(
    ("loss", "params", "train", "output"),
    [
        ("mse", {}, rows(-5, 5, broken=3), (1,)),
        ("cross_entropy", {}, rows(0, 2), (3,)),
        ("cross_entropy", {}, rows(-100, 2), (3,)),
        ("cross_entropy", {"ignore_index": 255}, rows(0, 255), (3,)),
        (nn.CrossEntropyLoss(ignore_index=-1), {}, rows(-1, 2), (3,)),
        ("cross_entropy", {}, rows(0, 1, broken=5, shape=(3,)), (3,)),
        ("bce_with_logits", {}, rows(0, 1, broken=5), (1,)),
        ("poisson", {}, rows(0, 9, broken=5), (1,)),
        (max, {}, rows(-9, 9, broken=5), (1,)),
    ],
)
def test_labels_that_fit(loss: Any, params: dict[str, Any], train: Manifest, output: tuple[int, ...]) -> None:
    check_labels(TrainConfig(losses=(loss,), loss_params=(params,) if params else ()), (output,), train, None)


def test_outputs_of_a_dict_belong_to_the_labels_of_their_names() -> None:
    labels = [Field(name, LABEL, SCALAR, (name,), "float32", (1,)) for name in ("a", "b", "c")]
    shapes = Outputs([(1,), (2,), (3,)])
    assert label_order(shapes, labels) == (0, 1, 2)
    for names in (("x", "y", "z"), ("a", "y", "z"), ("a", "b", "c")):
        shapes.names = names
        assert label_order(shapes, labels) == (0, 1, 2)
    shapes.names = ("c", "a", "b")
    assert label_order(shapes, labels) == (2, 0, 1)
    assert by_label(shapes, labels) == ((2,), (3,), (1,))
    shapes.names = ("c", "a", "x")
    with pytest.raises(NetworkError, match="a dict of 'c', 'a', 'x' for the labels 'a', 'b', 'c': name each output as"):
        label_order(shapes, labels)
