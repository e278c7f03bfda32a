"""A row of the tables of bad input: how it is made, and the sentence that names value, place and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sparkdl import SparkDLError, TorchClassifier, TorchEstimator, TorchRegressor

QUIET = {"module": "mlp", "featuresCol": "x", "verbose": 0, "mlflow": "false"}


@dataclass(frozen=True)
class Case:
    """Bad input.

    Attributes
    ----------
    name : str
    do : callable
        Does what a user would do; gets what the table's test has made for all cases.
    kind : type
        Of the error.
    said : str
        The whole sentence, as a regular expression.
    slow : bool
        Whether it takes seconds.
    """

    name: str
    do: Callable[[Any], Any]
    kind: type[SparkDLError]
    said: str
    slow: bool = False


def each(cases: list[Case]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each case, by its name."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]
    )


def check(case: Case, made: Any) -> None:
    """Do it: the error is of that very class, and says that one sentence."""
    with pytest.raises(case.kind) as error:
        case.do(made)
    assert type(error.value) is case.kind
    said = str(error.value)
    assert re.fullmatch(case.said, said), said
    assert "\n" not in said


def regressor(**settings: Any) -> TorchRegressor:
    """Return a TorchRegressor of column "x", which trains an mlp and says nothing."""
    return TorchRegressor(**{**QUIET, **settings})


def classifier(**settings: Any) -> TorchClassifier:
    """Return a TorchClassifier of column "x", which trains an mlp and says nothing."""
    return TorchClassifier(**{**QUIET, **settings})


def estimator(**settings: Any) -> TorchEstimator:
    """Return a TorchEstimator of column "x", which trains an mlp and says nothing."""
    return TorchEstimator(**{**QUIET, **settings})
