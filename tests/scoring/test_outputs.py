"""Tensors of a network as columns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparkdl.errors import NetworkError
from sparkdl.scoring.outputs import (
    ARRAY,
    DOUBLE,
    VECTOR,
    ClassificationHead,
    GenericHead,
    OutputColumn,
    RegressionHead,
    to_arrow,
)
from sparkdl.scoring.score_plan import arrow_type


@pytest.mark.parametrize(
    ("column", "tensor", "expected"),
    [
        (OutputColumn("p", DOUBLE), torch.tensor([1, 2]), [1.0, 2.0]),
        (OutputColumn("p", DOUBLE), torch.tensor([[0.5], [2.0]], dtype=torch.bfloat16), [0.5, 2.0]),
        (OutputColumn("p", ARRAY, (2,)), torch.tensor([[1, 2], [3, 4]]).T, [[1.0, 3.0], [2.0, 4.0]]),
        (OutputColumn("p", ARRAY, (1, 2)), torch.ones(2, 1, 2), [[[1.0, 1.0]]] * 2),
        (OutputColumn("p", VECTOR, (2,)), torch.tensor([[0.1, 0.2]], dtype=torch.float64), [[0.1, 0.2]]),
        (OutputColumn("p", ARRAY, (3,)), torch.empty(0, 3), []),
    ],
)
def test_arrow_values_and_types(column: OutputColumn, tensor: torch.Tensor, expected: list[object]) -> None:
    array = to_arrow(tensor, column)
    assert array.to_pylist() == expected
    assert array.type == arrow_type(column)


def test_shape_that_changes_is_refused() -> None:
    with pytest.raises(
        NetworkError, match=r"column 'p' gets rows of the shape \(3,\), the check of the network gave \(2,\)"
    ):
        to_arrow(torch.ones(4, 3), OutputColumn("p", ARRAY, (2,)))


def test_generic_columns() -> None:
    head = GenericHead(("a", "", "c"), ((), (4,), (2, 2)))
    assert head.columns() == (OutputColumn("a", DOUBLE), OutputColumn("c", ARRAY, (2, 2)))
    outputs = [torch.ones(3), torch.ones(3, 4), torch.ones(3, 2, 2)]
    assert [t.shape for t in head.compute(outputs)] == [(3,), (3, 2, 2)]
    with pytest.raises(NetworkError, match="the network has 2 outputs, 1 columns are named for them"):
        GenericHead(("a",), ((), ()))


def test_regression() -> None:
    assert RegressionHead("").columns() == ()
    assert RegressionHead("p").compute([torch.ones(3, 1)])[0].shape == (3, 1)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_binary_by_one_logit_is_centred(shape: tuple[int, ...]) -> None:
    head = ClassificationHead("raw", "prob", "pred", 2)
    raw, probability, prediction = head.compute([torch.tensor([-2.0, 0.5]).reshape(shape)])
    assert raw.tolist() == [[2.0, -2.0], [-0.5, 0.5]]
    assert probability[1, 1].item() == pytest.approx(1 / (1 + math.exp(-0.5)))
    torch.testing.assert_close(probability.sum(1), torch.ones(2, dtype=torch.float64))
    assert prediction.tolist() == [0, 1]


def test_binary_by_two_logits_is_centred_too() -> None:
    head = ClassificationHead("raw", "prob", "pred", 2)
    logits = torch.tensor([[1.0, 3.0], [0.2, 0.1]])
    raw, probability, _ = head.compute([logits])
    torch.testing.assert_close(raw[0], torch.tensor([-2.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(probability, torch.softmax(logits.double(), 1))


def test_classes_thresholds_and_names_left_out() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]))
    head = ClassificationHead("", "prob", "pred", 3, thresholds=(1.0, 0.1, 0.5))
    assert [c.name for c in head.columns()] == ["prob", "pred"]
    probability, prediction = head.compute([logits])
    np.testing.assert_allclose(probability[0], [0.5, 0.3, 0.2], rtol=1e-6)
    assert prediction.tolist() == [1, 1]
    zero = ClassificationHead("", "", "pred", 3, thresholds=(0.0, 0.1, 0.5))
    assert zero.compute([logits])[0].tolist() == [0, 0]
    assert ClassificationHead("raw", "", "", 3).compute([logits])[0].shape == (2, 3)


@pytest.mark.parametrize("thresholds", [None, (1.0, 0.5)])
@pytest.mark.parametrize("columns", [1, 2])
def test_no_class_is_predicted_from_nan(thresholds: tuple[float, ...] | None, columns: int) -> None:
    head = ClassificationHead("", "", "pred", 2, thresholds=thresholds)
    logits = torch.tensor([[math.nan, 1.0], [2.0, 1.0], [-math.inf, math.inf]])[:, :columns]
    (prediction,) = head.compute([logits])
    assert str(prediction.tolist()) == ("[nan, 1.0, 0.0]" if columns == 1 else "[nan, 0.0, 1.0]")
