from __future__ import annotations

import functools
from typing import Any

import pytest

from sparkdl.errors import SettingError
from sparkdl.preflight.arguments import check_arguments


def take(output: int, target: int, /, weight: int, *, base: int = 2) -> None: ...


class Taker:
    def __init__(self, width: int) -> None: ...


@pytest.mark.parametrize(
    ("call", "given", "placed", "sentence"),
    [
        (
            take,
            {"weight": 1, "bass": 2},
            2,
            "invalid lossParams key 'bass': take has no such argument, did you mean 'base'",
        ),
        (take, {"weight": 1, "output": 2}, 2, "invalid lossParams key 'output': take has no such argument, it takes"),
        (take, {}, 2, "lossParams lacks 'weight': take cannot be called without it"),
        (Taker, {"size": 1}, 0, "Taker has no such argument, it takes width"),
        (lambda: None, {"size": 1}, 0, "<lambda> has no such argument, it takes none"),
        (functools.partial(take, weight=1), {"bass": 2}, 2, "partial has no such argument, did you mean 'base'?"),
    ],
)
def test_what_a_signature_does_not_take(call: Any, given: dict[str, Any], placed: int, sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        check_arguments("lossParams", given, call, placed=placed)
    assert sentence in str(error.value)


def test_what_it_takes_or_does_not_tell() -> None:
    check_arguments("lossParams", {"weight": 1}, take, placed=2)
    check_arguments("lossParams", {}, take, placed=2, filled=("weight",))
    check_arguments("lossParams", {"any": 1}, lambda **others: None)
    check_arguments("lossParams", {"any": 1}, type)
    check_arguments("lossParams", {"base": 1}, functools.partial(take, weight=1), placed=2)
