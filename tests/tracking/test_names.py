from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from sparkdl.tracking.names import MetricNames


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("val_loss", "val_loss"),
        ("<lambda>", "lambda"),
        ("val_<lambda>", "val_lambda"),
        ("share/train", "share/train"),
        ("recall@5 (%)", "recall_5 _"),
        ("../up", "_up"),
        ("a//b", "a_b"),
        ("", "metric"),
        ("<>", "metric"),
        ("précision", "précision"),
    ],
)
def test_a_name_that_mlflow_refuses_gets_another(name: str, stored: str) -> None:
    assert MetricNames().of(name) == stored


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
def test_any_names_are_taken_and_stay_different(names: list[str]) -> None:
    given_names = MetricNames()
    stored = [given_names.of(name) for name in names]
    for name in stored:
        _validate_metric_name(name)
        assert len(name) <= 250
    assert len(set(stored)) == len(names)
    assert [given_names.of(name) for name in names] == stored
