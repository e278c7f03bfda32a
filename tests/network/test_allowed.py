"""Which classes and attributes a file may name, and that no class of this environment runs what a file says."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparkdl import register
from sparkdl.errors import NetworkError
from sparkdl.network import Reference, describe, resolve, restore
from sparkdl.network.allowed import attribute_refusal, instance_refusal, may_be_called, network_class, refusal
from sparkdl.network.description import PICKLE
from sparkdl.network.registry import find, name_of
from sparkdl.network.resolve import CLASS, STRUCTURE
from sparkdl.network.values import decode
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field
from sparkdl.train.callbacks import Callback

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (4,)),))
LINEAR = "torch.nn.modules.linear:Linear"


class Own(nn.Module):
    expansion = 4
    act = None
    shapes: ClassVar[list[int]] = []

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(4, width)
        self.expansion = 8
        self.act = functional.relu  # type: ignore[assignment]

    @property
    def width(self) -> int:
        return self.head.out_features

    @cached_property
    def double(self) -> int:
        return 2 * self.head.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


class Traced(torch.fx.GraphModule):
    pass


class WithState(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 2)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)


class Stopper(Callback):
    pass


def installed(cls: type, folder: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """Make a class look as if it were of a package in site-packages."""
    package = types.ModuleType("their_package")
    package.__path__ = [str(folder / "site-packages" / "their_package")]
    vars(package)[cls.__name__] = cls
    monkeypatch.setitem(sys.modules, "their_package", package)
    monkeypatch.setattr(cls, "__module__", "their_package")
    return cls


def layer(cls: str, place: str, **state: Any) -> dict[str, Any]:
    return {"$": "layer", "class": cls, "id": place, "state": state}


@pytest.mark.slow
@pytest.mark.parametrize("packages", [pytest.param((), id="imported"), pytest.param(("all",), id="all")])
def test_no_class_that_can_be_imported_runs_what_a_file_says(packages: tuple[str, ...], tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("every_class.py")), str(tmp_path / "canary"), *packages]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "RAN" not in run.stdout, run.stdout[:3000]
    assert not (tmp_path / "canary").exists()
    result = json.loads(run.stdout.splitlines()[-1])
    counts = result["counts"]
    # Whatever stands in place of a method, a property or a hook is refused, whichever class it is.
    assert {key for key in counts if key.startswith("shadow")} == {"shadow refused"}
    assert not any(name.startswith(("torch.nn.modules.", "torchmetrics.")) for name in result["refused"])
    assert {"torch.fx.graph_module:GraphModule", "torch.jit._script:ScriptModule"} <= set(result["refused"])
    assert counts["allowed"] > 150
    assert counts["data made"] > 1000
    assert counts["call made"] > 50


def test_an_interpreter_of_torch_runs_no_program_of_a_file(tmp_path: Path) -> None:
    """A description that did run code: torch's interpreter and code generator, called in place of ``eval``."""
    import torch.export.unflatten
    import torch.fx._lazy_graph_module  # noqa: F401

    identity = "torch.nn.modules.linear:Identity"
    source = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef forward(self): pass"
    code = layer(identity, "code", src=source, globals={}, _lineno_map={}, _prologue_start=0)
    arguments = {"$": "tuple", "v": [code]}
    node = layer(identity, "node", op="output", target="output", args=arguments, kwargs={}, _input_nodes=[])
    interpreter = layer(
        "torch.export.unflatten:InterpreterModule",
        "interpreter",
        graph=layer(identity, "graph", nodes=[node]),
        graph_module=1,
        _run_with_interpreter=True,
        arg_names=["root_module", "record_func"],
    )
    generator = layer(
        "torch.fx._lazy_graph_module:_LazyGraphModule",
        "generator",
        _graph=layer(identity, "fake", python_code=interpreter, _codegen=1),
    )
    for top in (layer(identity, "", eval=generator), layer(identity, "", inner=generator)):
        with pytest.raises(NetworkError, match="is refused: it is none of torch's layers, and may hold a program"):
            restore({"kind": STRUCTURE, "structure": top}, {}, SCHEMA)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "torch.fx.graph_module:GraphModule",
        "torch.fx.graph_module:_CodeOnlyModule",
        "torch.jit._script:RecursiveScriptModule",
        "torch.ao.quantization.stubs:QuantStub",
        "torch.nn.parallel.distributed:DistributedDataParallel",
    ],
)
def test_classes_of_torch_that_are_no_layers(name: str) -> None:
    for called in (False, True):
        with pytest.raises(NetworkError, match=rf"the network class {name} is refused: it is none of torch's layers"):
            network_class(name, called=called)


def test_what_derives_from_a_program_is_one() -> None:
    assert "its base torch.fx.graph_module:GraphModule is none of torch's layers" in refusal(Traced)
    assert "may hold a program" in refusal(register(Traced))
    assert not may_be_called(Traced)
    traced = Traced(nn.ReLU(), torch.fx.symbolic_trace(nn.ReLU()).graph)
    assert describe(traced, Reference(STRUCTURE)).json["kind"] == PICKLE


def test_classes_are_found_by_their_own_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.nn:Linear", "torch:nn.Linear", f"{__name__}:Linear", "builtins:__class__"):
        assert not isinstance(find(name), type)
        with pytest.raises(NetworkError, match="is not known here"):
            network_class(name)
    assert network_class(LINEAR) is nn.Linear
    assert network_class(name_of(Own), called=True) is Own


def test_classes_of_installed_packages_are_made_but_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls: Any = installed(type("Net", (Own,), {}), tmp_path, monkeypatch)
    made = resolve(cls, {"width": 3}, SCHEMA)
    assert made.reference.kind == STRUCTURE
    described = describe(made.module, made.reference)
    back = restore(described.json, described.tensors, SCHEMA).module
    assert type(back) is cls
    call = {"kind": CLASS, "name": "their_package:Net", "params": {"width": 3}, "frozen": []}
    with pytest.raises(NetworkError, match=r"their_package:Net is refused: .* call sparkdl.register on it"):
        restore(call, described.tensors, SCHEMA)
    argument = {"kind": CLASS, "name": LINEAR, "params": {"bias": {"$": "class", "v": "their_package:Net"}}}
    with pytest.raises(NetworkError, match="their_package:Net is refused"):
        restore(argument, {}, SCHEMA)
    register(cls)
    assert resolve(cls, {"width": 3}, SCHEMA).reference.kind == CLASS
    assert restore(call, described.tensors, SCHEMA).module.width == 3


def test_a_folder_with_packages_is_known_by_what_pip_leaves_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = installed(type("Other", (Own,), {}), tmp_path, monkeypatch)
    sys.modules["their_package"].__path__ = [str(tmp_path / "libs" / "their_package")]
    assert may_be_called(cls)
    (tmp_path / "more" / "their_package-1.0.dist-info").mkdir(parents=True)
    sys.modules["their_package"].__path__ = [str(tmp_path / "more" / "their_package")]
    assert not may_be_called(cls)


def test_states_are_not_given_to_methods_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = describe(WithState(), Reference(STRUCTURE))
    assert isinstance(restore(whole.json, whole.tensors, SCHEMA).module, WithState)
    installed(WithState, tmp_path, monkeypatch)
    described = describe(WithState(), Reference(STRUCTURE))
    assert described.json["kind"] == PICKLE
    assert "a __setstate__ of its own" in described.pickle_only
    whole.json["structure"]["class"] = "their_package:WithState"
    with pytest.raises(NetworkError, match="a __setstate__ of its own"):
        restore(whole.json, whole.tensors, SCHEMA)


@pytest.mark.parametrize(
    "name", ["expansion", "act", "shapes", "head", "anything", "_own", "training", "_parameters", "_modules"]
)
def test_attributes_that_a_file_may_set(name: str) -> None:
    assert attribute_refusal(Own, name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "eval",
        "forward",
        "train",
        "width",
        "double",
        "__class__",
        "__call__",
        "__deepcopy__",
        "__array_interface__",
        "_forward_hooks",
        "_backward_hooks",
        "_forward_pre_hooks",
        "_state_dict_hooks",
        "_load_state_dict_post_hooks",
        "_compiled_call_impl",
        "_version",
        "call_super_init",
        "parameters",
        "to",
        "__init__",
    ],
)
def test_attributes_that_a_file_may_not_set(name: str) -> None:
    assert attribute_refusal(Own, name)
    for state in ({name: 1}, {"_modules": {name: layer("torch.nn.modules.linear:Identity", "inner")}}):
        description = {"kind": STRUCTURE, "structure": layer(name_of(Own), "", **state)}
        with pytest.raises(NetworkError, match="has an attribute that is refused"):
            restore(description, {}, SCHEMA)


def test_attributes_of_callbacks() -> None:
    assert attribute_refusal(Stopper, "patience") == ""
    assert attribute_refusal(Stopper, "on_epoch_end")
    assert attribute_refusal(Stopper, "__class__")


@pytest.mark.parametrize(
    "state",
    [
        {"training": 1},
        {"training": "yes"},
        {"_parameters": [1]},
        {"_parameters": {"weight": 1}},
        {"_buffers": {"mean": layer(LINEAR, "inner")}},
        {"_modules": {"inner": 3}},
        {"_modules": {"a.b": None}},
        {"_modules": {"": None}},
        {"_modules": {"$": "dict", "v": [[1, None]]}},
        {"_non_persistent_buffers_set": ["a"]},
        {"_forward_hooks": {"$": "dict", "v": [[1, {"$": "function", "v": "torch.relu"}]]}},
        {"_is_full_backward_hook": 3},
    ],
    ids=str,
)
def test_values_are_of_their_kind(state: dict[str, Any]) -> None:
    with pytest.raises((NetworkError, TypeError)):
        restore({"kind": STRUCTURE, "structure": {**layer(LINEAR, ""), "state": state}}, {}, SCHEMA)


def test_rnn_makes_no_names_of_a_number_in_a_file() -> None:
    state = {"_all_weights": [[1]], "num_layers": 10**12, "bidirectional": False, "bias": True, "proj_size": 0}
    with pytest.raises(NetworkError, match="_all_weights is no list of lists of names"):
        restore({"kind": STRUCTURE, "structure": layer("torch.nn.modules.rnn:LSTM", "", **state)}, {}, SCHEMA)


def test_empty_hooks_are_left_out_and_used_caches_are_computed_again() -> None:
    made = Own(3)
    assert made.double == 6
    made.register_full_backward_hook(lambda *_: None).remove()
    described = describe(made, Reference(STRUCTURE))
    assert not {"double", "_backward_hooks"} & set(described.json["structure"]["state"])
    described.json["structure"]["state"]["_backward_hooks"] = {"$": "ordered", "v": []}
    back: Any = restore(described.json, described.tensors, SCHEMA).module
    assert (back.double, back.expansion, back.act) == (6, 8, functional.relu)


def hooked() -> nn.Module:
    made = Own()
    made.register_forward_hook(lambda *_: None)
    return made


def shadowing() -> nn.Module:
    made = Own()
    made.forward = made.head.forward  # type: ignore[method-assign]
    return made


def shadowing_with_data() -> nn.Module:
    made = Own()
    made.__dict__["extra_repr"] = "text"
    return made


@pytest.mark.parametrize("make", [hooked, shadowing, shadowing_with_data])
def test_what_could_not_be_loaded_again_is_saved_as_a_pickle(make: Any) -> None:
    described = describe(make(), Reference(STRUCTURE))
    assert described.json["kind"] == PICKLE
    assert "cannot be made again from JSON" in described.pickle_only


def every_layer() -> list[nn.Module]:
    """Return one of each layer of torch that can be made by a few numbers."""
    made: list[nn.Module] = []
    arguments = ((), (2,), (2, 2), (2, 2, 2), (4, 2, 1), (2, 2, 2, 2), ([2, 3],), ((1,), 2), (4, 4, [2]))
    for cls in {value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, nn.Module)}:
        for given in arguments:
            try:
                made.append(cls(*given))
            except (TypeError, ValueError, AssertionError, RuntimeError, IndexError):
                continue
            break
    encoder = nn.TransformerEncoderLayer(4, 2, 8)
    return [*made, nn.TransformerEncoder(encoder, 2), nn.Transformer(4, 2, 1, 1, 8), nn.ParameterDict({"a": None})]


@pytest.mark.filterwarnings("ignore")
def test_every_layer_of_torch_comes_back() -> None:
    layers = every_layer()
    assert len({type(module) for module in layers}) > 140
    for module in layers:
        if any(nn.parameter.is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            continue
        described = describe(module, Reference(STRUCTURE))
        assert described.json["kind"] == STRUCTURE, described.pickle_only
        back = restore(json.loads(json.dumps(described.json)), described.tensors, SCHEMA).module
        assert repr(back) == repr(module)
        assert vars(back).keys() == vars(module).keys()
        assert back.state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    "parameters",
    [
        {"_forward_hooks": {"1": {"$": "function", "v": "torch.exp"}}, "forward": {"$": "function", "v": "torch.exp"}},
        {"__class__": {"$": "class", "v": "torch.nn.modules.container:Sequential"}},
        {"train": {"$": "class", "v": LINEAR}},
        {"eval": 5},
    ],
)
def test_a_layer_that_sets_attributes_by_its_arguments_is_not_called(parameters: dict[str, Any]) -> None:
    name = "torch.nn.modules.container:ParameterDict"
    call = {"kind": CLASS, "name": name, "params": {"parameters": parameters}, "frozen": []}
    with pytest.raises(NetworkError, match="ParameterDict is refused: it sets an attribute of any name"):
        restore(call, {}, SCHEMA)


def test_what_a_call_has_made_is_looked_at() -> None:
    for name, value in (("_forward_hooks", {1: torch.exp}), ("eval", 5), ("_anything_new", None)):
        made = nn.Linear(2, 2)
        setattr(made, name, value)
        assert bool(instance_refusal(nn.Sequential(made))) == (name != "_anything_new")
    assert instance_refusal(nn.LSTM(2, 2)) == ""
    assert instance_refusal(Own()) == ""


def test_a_network_that_is_saved_holds_a_parameter_dict() -> None:
    made = nn.ParameterDict({"a": nn.Parameter(torch.ones(2))})
    described = describe(made, Reference(STRUCTURE))
    assert torch.equal(restore(described.json, described.tensors, SCHEMA).module["a"], torch.ones(2))


def nested_twice(depth: int, innermost: list[Any]) -> dict[str, Any]:
    """Layers that hold the same layer on two ways, `depth` times: a file of some kilobytes."""

    def layer(name: str, modules: list[Any]) -> dict[str, Any]:
        state = {"training": False, "_modules": {"$": "dict", "v": modules}}
        return {"$": "layer", "class": "torch.nn.modules.container:Sequential", "id": name, "state": state}

    node = layer("a0", innermost)
    for number in range(1, depth + 1):
        one = layer(f"b{number}", [["0", node]])
        other = layer(f"c{number}", [["0", {"$": "same_layer", "v": f"a{number - 1}"}]])
        node = layer(f"a{number}", [["0", one], ["1", other]])
    return {"kind": STRUCTURE, "structure": node}


def test_layers_that_hold_each_other_in_too_many_ways_are_refused() -> None:
    assert len(list(restore(nested_twice(3, []), {}, SCHEMA).module.eval().modules())) == 10
    for depth, innermost in ((25, []), (30, []), (1, [["0", {"$": "same_layer", "v": "a1"}]])):
        with pytest.raises(NetworkError, match="hold each other in more ways|which this sparkdl does not know"):
            restore(nested_twice(depth, innermost), {}, SCHEMA)


def test_a_layer_inside_of_itself_is_refused() -> None:
    inner = {"$": "dict", "v": [["0", {"$": "same_layer", "v": "top"}]]}
    top = {"$": "layer", "class": "torch.nn.modules.container:Sequential", "id": "top", "state": {"_modules": inner}}
    with pytest.raises(NetworkError, match="hold each other in more ways"):
        restore({"kind": STRUCTURE, "structure": top}, {}, SCHEMA)


def test_keys_that_are_made_to_collide_are_refused() -> None:
    modulus = sys.hash_info.modulus
    for kind, items in (
        ("dict", [[i * modulus, 0] for i in range(2_000)]),
        ("set", [i * modulus for i in range(2_000)]),
    ):
        with pytest.raises(NetworkError, match="keys of a kind that 1000 are allowed of"):
            decode({"$": kind, "v": items})
    many = [[i, 0] for i in range(50_000)]
    assert len(decode({"$": "dict", "v": many})) == 50_000
