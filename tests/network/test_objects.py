"""Small objects as attributes of a network: JSON and back, and what a file may not make of them."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.fx.passes.shape_prop import TensorMetadata
from torch.nn import functional
from torch.nn.utils.parametrizations import _OrthMaps

from sparkdl import register
from sparkdl.errors import NetworkError
from sparkdl.network import allowed, registry
from sparkdl.network.objects import value_class
from sparkdl.network.registry import name_of
from sparkdl.network.values import UndescribableError, decode, encode


class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2


class Size(NamedTuple):
    width: int
    depth: int = 2


@dataclass(frozen=True)
class Config:
    width: int
    act: Any = None
    kinds: list[Kind] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.width)


@dataclass(slots=True)
class Narrow:
    width: int = 1
    more: Any = None


@dataclass
class Loud:
    text: str = ""

    def __post_init__(self) -> None:
        raise AssertionError("it was called")

    @property
    def shown(self) -> str:
        return self.text

    @shown.setter
    def shown(self, value: str) -> None:
        raise AssertionError("it was called")


def back(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value, "held"))))


@pytest.mark.parametrize(
    "value",
    [
        Kind.LARGE,
        Size(3),
        Config(4, functional.relu, [Kind.SMALL]),
        Narrow(3, Size(1, 1)),
        SimpleNamespace(rate=0.5, inner=SimpleNamespace(sizes=(1, 2)), config=Config(1)),
        {"a": [Narrow(more=torch.float16)]},
        _OrthMaps.cayley,
    ],
)
def test_values_come_back(value: Any) -> None:
    assert back(value) == value
    assert type(back(value)) is type(value)


def test_a_partial_function_comes_back() -> None:
    made = back(partial(nn.LayerNorm, eps=1e-6))
    assert (made.func, made.args, made.keywords) == (nn.LayerNorm, (), {"eps": 1e-6})
    assert back(partial(functional.leaky_relu, negative_slope=0.5))(torch.tensor(-2.0)) == -1
    assert vars(back(Config(2))) == {"width": 2, "act": None, "kinds": [], "double": 4}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (partial(print, "x"), "print"),
        (partial(subprocess.run, ["true"]), "run"),
        (SimpleNamespace(go=lambda: 1), "held.*lambda"),
        (Config(1, act=object()), "object"),
        (subprocess.CompletedProcess, "type CompletedProcess"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, said: str) -> None:
    with pytest.raises(UndescribableError, match=said):
        encode(value, "held")


def test_values_of_installed_packages_have_to_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (enum.Flag, allowed.ModuleType):
        assert allowed.value_refusal(cls).startswith("a file may not name values of an installed package")
    with pytest.raises(NetworkError, match="none of torch's layers"):
        value_class(name_of(TensorMetadata), "named_tuple")
    with monkeypatch.context() as patch:
        patch.setattr(allowed, "_is_installed", lambda module: True)
        with pytest.raises(UndescribableError, match="call sparkdl.register on it"):
            encode(Size(1), "held")
        register(Size)
        try:
            assert back(Size(1)) == Size(1)
        finally:
            registry._REGISTERED.pop(name_of(Size))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"$": "dataclass", "class": f"{__name__}:Loud", "v": {"shown": "x"}}, "shown is defined by the class Loud"),
        ({"$": "dataclass", "class": f"{__name__}:Loud", "v": {"__class__": 1}}, "one of Python's own names"),
        ({"$": "dataclass", "class": f"{__name__}:Loud", "v": {"__post_init__": 1}}, "one of Python's own names"),
        ({"$": "dataclass", "class": f"{__name__}:Loud", "v": 3}, "parts do not fit"),
        ({"$": "dataclass", "class": f"{__name__}:Size", "v": {}}, "is not known here"),
        ({"$": "dataclass", "class": "subprocess:Popen", "v": {}}, "is not known here"),
        ({"$": "dataclass", "class": "sparkdl.fitting.absent:Job", "v": {}}, "is not known here"),
        ({"$": "dataclass", "class": "sparkdl.network.resolve:Reference", "v": {}}, "is refused"),
        ({"$": "member", "class": f"{__name__}:Kind", "v": "OTHER"}, "parts do not fit"),
        ({"$": "member", "class": f"{__name__}:Kind", "v": ["SMALL"]}, "parts do not fit"),
        ({"$": "named_tuple", "class": f"{__name__}:Size", "v": [1]}, "has 2 fields"),
        ({"$": "named_tuple", "class": None, "v": [1]}, "is not known here"),
        ({"$": "namespace", "v": {"__dict__": 1}}, "one of Python's own names"),
        ({"$": "namespace", "v": [1]}, "parts do not fit"),
        ({"$": "partial", "v": ["os.system", [], {}]}, "nothing that can be called"),
        ({"$": "partial", "v": [{"$": "function", "v": "torch.load"}, [], {}]}, "not among those that may be used"),
        ({"$": "partial", "v": [{"$": "class", "v": "subprocess:Popen"}, [], {}]}, "is not known here"),
        ({"$": "partial", "v": [1]}, "parts do not fit"),
    ],
)
def test_what_a_file_may_not_say(body: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        decode(body)


def test_no_module_is_imported() -> None:
    sys.modules.pop("wave", None)
    with pytest.raises(NetworkError, match="is not known here"):
        decode({"$": "named_tuple", "class": "wave:_wave_params", "v": []})
    assert "wave" not in sys.modules
