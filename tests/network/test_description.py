"""A network described as JSON and tensors computes the same after it was made again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sparkdl.errors import NetworkError
from sparkdl.network import Reference, describe, register, resolve, restore
from sparkdl.network.description import PICKLE
from sparkdl.network.resolve import CLASS, STRUCTURE
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field


def schema(*shape: int, dtype: str = "float32") -> DataSchema:
    return DataSchema((Field("x", INPUT, ARRAY, ("x",), dtype, shape),))


def round_trip(module: nn.Module, reference: Reference | None = None, data: DataSchema | None = None) -> nn.Module:
    """Through JSON text and a weights file's worth of tensors, without any trust."""
    described = describe(module, reference or Reference(STRUCTURE))
    body = json.loads(json.dumps(described.json, allow_nan=False))
    tensors = {name: tensor.clone() for name, tensor in described.tensors.items()}
    return restore(body, tensors, data or schema(4)).module


def same(a: nn.Module, b: nn.Module, *inputs: torch.Tensor) -> None:
    assert [type(layer) for layer in a.modules()] == [type(layer) for layer in b.modules()]
    a.eval(), b.eval()
    with torch.no_grad():
        expected, got = a(*inputs), b(*inputs)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


class Tied(nn.Module):
    """Tied weights, a layer used twice, plain tensors, functions and unusual attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.again = self.first
        self.register_buffer("shift", torch.arange(4.0), persistent=False)
        self.scale = torch.full((4,), 3.0)
        self.act = functional.gelu
        self.norm_layer = nn.LayerNorm
        self.options = {"dims": (1, 2), "limit": float("inf"), 3: torch.float16, "size": torch.Size([2, 3])}
        self.extra = [nn.Linear(4, 4)]
        self.first.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.again(x)) * self.scale + self.shift
        return self.extra[0](self.second(hidden)).clamp(max=self.options["limit"])


class Sized(nn.Module):
    def __init__(self, width: int = 3, act: Any = None, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.head = nn.LazyLinear(width)
        self.norm = nn.BatchNorm1d(width)
        self.act = act or (lambda value: value)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.head(x)))


def test_structure_keeps_what_is_shared_and_what_is_plain() -> None:
    made = Tied()
    back = round_trip(made)
    same(made, back, torch.randn(5, 4))
    assert back.second.weight is back.first.weight
    assert back.again is back.first
    assert not back.first.weight.requires_grad
    assert back.options == made.options
    assert back.norm_layer is nn.LayerNorm
    assert back.state_dict().keys() == made.state_dict().keys()
    back.train()
    back(torch.randn(5, 4)).sum().backward()
    assert back.extra[0].weight.grad is not None


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True), torch.randn(2, 3, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 3, 8)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), torch.randn(2, 1, 5, 5)),
        (nn.Embedding(7, 3, padding_idx=0), torch.tensor([[1, 2]])),
        (nn.ModuleDict({"a": nn.GRUCell(2, 3)})["a"], torch.randn(4, 2)),
    ],
    ids=["lstm", "transformer", "cnn", "embedding", "gru"],
)
def test_layers_of_torch(module: nn.Module, inputs: torch.Tensor) -> None:
    described = describe(module, Reference(STRUCTURE))
    assert described.skeleton is None
    same(module, round_trip(module), inputs)


LAYERS = st.recursive(
    st.one_of(
        st.builds(lambda bias: nn.Linear(4, 4, bias=bias), st.booleans()),
        st.builds(nn.Dropout, st.floats(0, 1)),
        st.builds(nn.LayerNorm, st.just(4), eps=st.floats(1e-6, 1e-2)),
        st.builds(nn.BatchNorm1d, st.just(4), affine=st.booleans(), track_running_stats=st.booleans()),
        st.sampled_from((nn.ReLU, nn.Tanh, nn.GELU)).map(lambda cls: cls()),
    ),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda layers: nn.Sequential(*layers)),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(LAYERS)
def test_any_sequence_of_layers(module: nn.Module) -> None:
    same(module, round_trip(module), torch.randn(3, 4))


def test_class_is_called_again_with_its_parameters() -> None:
    made = resolve(Sized, {"width": 6, "act": functional.relu, "shape": (1, 2)}, schema(4), seed=3)
    assert made.reference.kind == CLASS
    with torch.no_grad():
        made.module.norm.running_mean.fill_(0.5)
    made.module.head.bias.requires_grad_(False)
    back = round_trip(made.module, made.reference)
    same(made.module, back, torch.randn(3, 4))
    assert back.shape == (1, 2)
    assert not back.head.bias.requires_grad
    assert back.head.weight.requires_grad


def test_class_that_was_changed_after_its_call_is_described_by_its_structure() -> None:
    made = resolve(Sized, {"act": functional.relu}, schema(4))
    made.module.head = nn.Linear(4, 3, bias=False)
    described = describe(made.module, made.reference)
    assert described.json["kind"] == STRUCTURE
    same(made.module, round_trip(made.module, made.reference), torch.randn(3, 4))


def test_what_json_cannot_describe_needs_trust() -> None:
    made = resolve(lambda: Sized(), {}, schema(4))
    described = describe(made.module, made.reference)
    assert described.json["kind"] == PICKLE
    assert "act holds the function" in described.pickle_only
    with pytest.raises(NetworkError, match=r"act holds the function.*trusted=True"):
        restore(described.json, described.tensors, schema(4))
    skeleton = described.skeleton
    assert skeleton is not None
    back = restore(described.json, described.tensors, schema(4), lambda: skeleton).module
    same(made.module, back, torch.randn(3, 4))


def test_pickle_holds_no_weights() -> None:
    made = Tied()
    made.extra.append(nn.Linear(512, 512))
    described = describe(made, Reference(STRUCTURE))
    assert described.skeleton is not None
    assert len(described.skeleton) < 20_000
    assert "unnamed" not in "".join(described.tensors)


def test_unknown_class_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_nets.py").write_text(
        "import pathlib, torch\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).write_text('ran')\n"
        "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    body = {"kind": "class", "name": "loud_nets:Net", "params": {}, "frozen": []}
    with pytest.raises(NetworkError, match="add `from loud_nets import Net` before loading"):
        restore(body, {}, schema(4))
    assert not (tmp_path / "ran").exists()
    assert "loud_nets" not in sys.modules


@pytest.mark.parametrize("name", ["os:system", "builtins:exec", "subprocess:Popen", "torch:load", "sparkdl:register"])
def test_only_networks_are_called(name: str) -> None:
    call = {"kind": "class", "name": name, "params": {}, "frozen": []}
    layer = {"kind": "structure", "structure": {"$": "layer", "class": name, "id": "", "state": {}}}
    argument = {"kind": "class", "name": "torch.nn.modules.linear:Linear", "params": {"a": {"$": "class", "v": name}}}
    for body in (call, layer, argument):
        with pytest.raises(NetworkError, match="not known here"):
            restore(body, {}, schema(4))
    function = {"$": "function", "v": name.replace(":", ".")}
    with pytest.raises(NetworkError, match="not among those that may be used"):
        restore({"kind": "class", "name": "torch.nn.modules.linear:Linear", "params": {"a": function}}, {}, schema(4))


def test_lazy_module_attributes_run_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.ModuleType("lazy_package")
    asked: list[str] = []
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    with pytest.raises(NetworkError, match="not known here"):
        restore({"kind": "class", "name": "lazy_package:Net", "params": {}}, {}, schema(4))
    assert asked == []


def test_weights_of_another_shape_are_refused() -> None:
    made = resolve(Sized, {"act": functional.relu}, schema(4))
    described = describe(made.module, made.reference)
    short = {name: tensor[:1] for name, tensor in described.tensors.items() if tensor.ndim}
    with pytest.raises(NetworkError, match="the class has changed since it was saved"):
        restore(described.json, short, schema(4))
    structure = describe(made.module, Reference(STRUCTURE)).json
    with pytest.raises(NetworkError, match="missing from the weights"):
        restore(structure, short, schema(4))


def test_registered_local_class_is_found() -> None:
    @register
    class Local(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 2)

    made = resolve(Local, {}, schema(4))
    same(made.module, round_trip(made.module, made.reference), torch.randn(2, 4))
    same(made.module, round_trip(made.module), torch.randn(2, 4))


def test_a_compiled_network_is_saved_as_what_was_compiled() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    module = nn.Sequential(torch.compile(inner, backend="eager"), nn.Linear(4, 1))
    rows = torch.randn(3, 4)
    expected = module(rows)
    for compiled in (module, torch.compile(module, backend="eager")):
        described = describe(compiled, Reference(STRUCTURE))
        assert not described.pickle_only
        assert "OptimizedModule" not in json.dumps(described.json)
        torch.testing.assert_close(round_trip(compiled)(rows), expected)
