from __future__ import annotations

import inspect
import pickle

import pytest
from pyspark.ml.param import Param
from pyspark.ml.param.shared import HasSeed

from sparkdl.errors import SettingError
from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasSize(Settings):
    size = Setting(kinds.whole(1), 4, "how large")
    width = Setting(kinds.number(above=0.0), None, "how wide")


class HasOwnSeed(Settings, HasSeed):
    seed = Setting(kinds.whole(), 42, "where random numbers begin")
    password = Setting(kinds.options(), {}, "what opens it", secret=True)


class Stage(HasSize, HasOwnSeed):
    pass


class OwnConstructor(HasSize):
    def __init__(self, extra: int) -> None:
        super().__init__(size=extra)


def test_defaults_hold_over_those_of_sparks_mixins() -> None:
    stage = Stage()

    assert (stage.getSize(), stage.getWidth(), stage.getSeed()) == (4, None, 42)
    assert stage.hasDefault("size")
    assert not stage.isDefined("width")


def test_none_takes_a_value_away_wherever_it_is_given() -> None:
    stage = Stage(size=8, width=2.0)

    assert stage.copy({stage.size: None}).getSize() == 4
    assert stage.setWidth(None).getWidth() is None
    assert not stage.isSet("width")
    assert stage.setParams(size=None).getSize() == 4
    stage.setSize(9).set(stage.size, None)
    assert stage.getSize() == 4


def test_a_refused_value_is_named_with_what_the_param_takes() -> None:
    sentence = "size=0 is refused: size takes a whole number of 1 or more"
    stage = Stage()

    for give in (
        lambda: Stage(size=0),
        lambda: stage.setSize(0),
        lambda: stage.setParams(size=0),
        lambda: stage.set(stage.size, 0),
        lambda: stage.copy({stage.size: 0}),
    ):
        with pytest.raises(SettingError, match=f"^{sentence}$"):
            give()
    assert stage.getSize() == 4


def test_an_unknown_name_is_refused_with_the_closest_one() -> None:
    with pytest.raises(TypeError, match="Stage has no Param 'sise': did you mean 'size'"):
        Stage(sise=3)
    with pytest.raises(TypeError):
        Stage(8)  # type: ignore[call-arg]


def test_a_secret_is_never_shown() -> None:
    stage = Stage(password={"key": "xyzzy"})

    assert "xyzzy" not in stage.explainParams()
    assert "set, not shown" in stage.explainParam("password")
    with pytest.raises(SettingError) as error:
        stage.setPassword("xyzzy")
    assert "xyzzy" not in str(error.value)


def test_a_param_survives_copy_and_pickle() -> None:
    stage = Stage(width=0.5)
    copied = stage.copy({stage.size: 7})
    param: Param[int] = pickle.loads(pickle.dumps(stage.size))

    assert (copied.uid, copied.getSize(), copied.getWidth(), stage.getSize()) == (stage.uid, 7, 0.5, 4)
    assert param == stage.size
    assert param.typeConverter(3.0) == 3


def test_a_default_is_not_shared_between_stages() -> None:
    first, second = Stage(), Stage()
    first.getPassword()["key"] = 1

    assert second.getPassword() == {}


def test_the_constructor_shows_its_keywords() -> None:
    assert list(inspect.signature(Stage).parameters) == ["password", "seed", "size", "width"]
    assert inspect.signature(Stage).parameters["size"].default == 4
    assert list(inspect.signature(OwnConstructor).parameters) == ["extra"]
    assert OwnConstructor(3).getSize() == 3
    assert Stage.setSize.__doc__ == "Set `size`; None takes its value away."
