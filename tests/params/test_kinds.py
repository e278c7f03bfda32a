from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.params import kinds


class Watcher:
    def on_epoch_end(self, state: object) -> None: ...


WATCHER = Watcher()

GOOD: list[tuple[kinds.Kind, Any, Any]] = [
    (kinds.whole(1), np.int64(3), 3),
    (kinds.whole(1), 2.0, 2),
    (kinds.whole(2, besides=0), 0, 0),
    (kinds.number(above=0.0), np.float32(0.5), 0.5),
    (kinds.number(minimum=0.0, below=1.0), 0, 0.0),
    (kinds.flag(), np.bool_(True), True),
    (kinds.column(may_be_empty=True), "", ""),
    (kinds.columns(), ("a", "b.c"), ["a", "b.c"]),
    (kinds.columns(may_be_empty=True), ["", "", "a"], ["", "", "a"]),
    (kinds.one_of("cpu", "cuda"), "cuda", "cuda"),
    (kinds.switch(), True, "true"),
    (kinds.switch(), "auto", "auto"),
    (kinds.level(2), 2, 2),
    (kinds.options(), {"a": 1}, {"a": 1}),
    (kinds.amounts(), {"cpus": 2, "gpu": 0.5}, {"cpus": 2.0, "gpu": 0.5}),
    (kinds.flag_or_options(), True, True),
    (kinds.flag_or_options(), {"mode": "default"}, {"mode": "default"}),
    (kinds.options_for_each(), ({"a": 1}, {}), [{"a": 1}, {}]),
    (kinds.words(), {"layer": "column"}, {"layer": "column"}),
    (kinds.named("a loss"), math.sqrt, math.sqrt),
    (kinds.named_or_each("a loss"), ("mse", math.sqrt), ["mse", math.sqrt]),
    (kinds.named_list("metrics"), "accuracy", ["accuracy"]),
    (kinds.numbers(0.0), np.array([0.0, 2.0]), [0.0, 2.0]),
    (kinds.thresholds(), [0.0, 0.5], [0.0, 0.5]),
    (kinds.class_weights(), "balanced", "balanced"),
    (kinds.class_weights(), (1, 2), [1.0, 2.0]),
    (kinds.callbacks(), [WATCHER], [WATCHER]),
]

BAD: list[tuple[kinds.Kind, Any]] = [
    (kinds.whole(1), 0),
    (kinds.whole(1), True),
    (kinds.whole(1), 1.5),
    (kinds.whole(1), math.nan),
    (kinds.whole(1), math.inf),
    (kinds.whole(1), "1"),
    (kinds.whole(2, besides=0), 1),
    (kinds.number(above=0.0), 0.0),
    (kinds.number(above=0.0), math.nan),
    (kinds.number(minimum=0.0, below=1.0), 1.0),
    (kinds.number(), math.inf),
    (kinds.amounts(), {"gpu": 0}),
    (kinds.flag_or_options(), "true"),
    (kinds.flag_or_options(), {1: "default"}),
    (kinds.amounts(), {"gpu": "one"}),
    (kinds.flag(), 1),
    (kinds.flag(), "true"),
    (kinds.column(), ""),
    (kinds.columns(), "ab"),
    (kinds.columns(), []),
    (kinds.columns(), ["a", "a"]),
    (kinds.columns(), ["a", ""]),
    (kinds.one_of("cpu", "cuda"), "gpu"),
    (kinds.switch(), "yes"),
    (kinds.level(2), 3),
    (kinds.options(), [("a", 1)]),
    (kinds.options(), {1: "a"}),
    (kinds.words(), {"layer": ""}),
    (kinds.named("a loss"), ""),
    (kinds.named("a loss"), 3),
    (kinds.named_or_each("a loss"), ["mse", None]),
    (kinds.numbers(0.0), [-1.0]),
    (kinds.thresholds(), [0.0, 0.0]),
    (kinds.thresholds(), []),
    (kinds.class_weights(), "even"),
    (kinds.class_weights(), [0.0, 0.0]),
    (kinds.callbacks(), [Watcher]),
    (kinds.callbacks(), [print]),
]


@pytest.mark.parametrize(("kind", "value", "accepted"), GOOD)
def test_a_good_value_comes_back_in_its_own_form(kind: kinds.Kind, value: Any, accepted: Any) -> None:
    first = kind.accept(value)

    assert first == accepted
    assert type(first) is type(accepted)
    assert kind.accept(first) == accepted


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_bad_value_is_refused(kind: kinds.Kind, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        kind.accept(value)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_whole_numbers_of_64_bits_stay_exact(value: int) -> None:
    assert kinds.whole().accept(value) == value
    assert kinds.whole().accept(np.int64(value)) == value


def test_the_callers_dict_and_list_are_copied() -> None:
    given_dict, given_list = {"hidden": [8]}, [1.0]

    assert kinds.options().accept(given_dict) is not given_dict
    assert kinds.numbers().accept(given_list) is not given_list
