from __future__ import annotations

import inspect
import pickle
import pydoc
import re

import pytest
from pyspark.ml.param import Param
from pyspark.ml.param.shared import HasSeed

from sparkdl.errors import SettingError
from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings
from sparkdl.params.stages import ClassifierParams


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
    sentence = "invalid size=0: expected an integer >= 1"
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


@pytest.mark.parametrize("value", ["many", True, [2], object()])
def test_a_value_of_a_wrong_type_is_a_type_error_too(value: object) -> None:
    with pytest.raises(TypeError, match="^invalid size=.*: expected an integer >= 1$") as caught:
        Stage(size=value)
    assert isinstance(caught.value, SettingError)
    with pytest.raises(SettingError) as caught:
        Stage(size=0)
    assert not isinstance(caught.value, TypeError)


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(SettingError) as caught:
        Stage(size="x" * 10_000)
    assert len(str(caught.value)) < 200


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
    assert Stage.setSize.__doc__ == "Set `size`: how large. None takes its value away."
    assert Stage.getSize.__doc__ == "Return `size`, its default, or None: how large."


def test_help_explains_every_param_of_a_public_stage() -> None:
    class Public(Stage):
        """What it does.

        More of it.
        """

        __module__ = "sparkdl"

    class Private(Public):
        """Not of sparkdl's."""

    assert str(Public.__doc__).splitlines() == [
        *("What it does.", "", "More of it.", "", "Params", "------"),
        *("size : int, default 4", "    how large", "width : float, not set", "    how wide"),
        *("seed : int, default 42", "    where random numbers begin"),
        *("password : dict[str, Any], default {}", "    what opens it"),
    ]
    assert Private.__doc__ == "Not of sparkdl's."


def test_help_shows_a_long_signature_in_lines() -> None:
    shown = pydoc.plain(pydoc.render_doc(ClassifierParams))
    assert max(len(line) for line in shown.splitlines() if "=" in line) <= 120
    assert inspect.signature(ClassifierParams).parameters["epochs"].default == 1


def test_a_notebook_shows_what_is_set_without_secrets() -> None:
    stage = Stage(size=8, password={"key": "xyzzy"})
    shown = stage._repr_html_()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown)

    assert "<b>Stage</b>" in shown
    assert cells == ["uid", stage.uid, "password", "set, not shown", "size", "8"]


def test_a_notebook_shows_values_as_text() -> None:
    class HasName(Settings):
        name = Setting(kinds.text(), None, "a name")

    assert "&lt;img src=x&gt;" in HasName(name="<img src=x>")._repr_html_()
    assert len(HasName(name="x" * 10_000)._repr_html_()) < 1000
