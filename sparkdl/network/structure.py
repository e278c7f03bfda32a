"""A network layer by layer as JSON and named tensors, and back, for networks that no call can make again.

Layers are made without their constructors from classes that this process knows and a file may name, and get back the
attributes that a file may set (`allowed`). What layers share (tied weights, a layer used twice) is shared again.
What could not be loaded again is not described: `describe_structure` keeps the rules of `rebuild_structure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from sparkdl.comm.torch_pickle import is_parametrized, parametrize
from sparkdl.errors import NetworkError
from sparkdl.network.allowed import HOOKS, attribute_refusal, is_cached, network_class, refusal
from sparkdl.network.norms import HOOKS_OF_NORMS, add_norm, describe_norms, is_hook_of_norm
from sparkdl.network.registry import is_found, name_of
from sparkdl.network.values import UndescribableError, decode, encode

_FRESH = nn.Module().__dict__
_MEMBERS: dict[str, tuple[type, ...]] = {
    "_parameters": (nn.Parameter,),
    "_buffers": (torch.Tensor,),
    "_modules": (nn.Module,),
}
"""Attributes of every ``nn.Module`` that hold others by name, and what they hold beside None."""


_MOST_PATHS = 1_000_000
"""Ways from a network to its layers, those to the layers inside of a shared one counted again for each."""


def describe_structure(module: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the JSON form of a network and its tensors by name.

    Raises
    ------
    UndescribableError
        Names the attribute that has no JSON form.
    """
    describer = _Describer()
    try:
        return describer.layer(module, ""), describer.tensors
    except RecursionError:
        raise UndescribableError(f"an attribute of {type(module).__name__} holds itself") from None


def rebuild_structure(structure: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return the network that `describe_structure` has described.

    Raises
    ------
    NetworkError
        If a class is not known here or a tensor is missing or of another shape.
    """
    built = decode(dict(structure), _Builder(tensors).special)
    if not isinstance(built, nn.Module):
        raise NetworkError("the description of the network does not begin with a layer")
    _check_paths(built)
    return built


def classes_in(description: Any) -> set[tuple[str, bool]]:
    """Return the name of each class in a JSON form, and whether the class may be called by what holds it."""
    if isinstance(description, list):
        return set().union(*(classes_in(item) for item in description))
    if not isinstance(description, dict):
        return set()
    names = set().union(*(classes_in(item) for item in description.values()))
    if description.get("$") == "layer":
        names.add((str(description.get("class")), False))
    if description.get("$") == "class":
        names.add((str(description.get("v")), True))
    return names


class _Describer:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}
        self._layers: dict[int, str] = {}
        self._places: set[str] = set()
        self._alive: list[Any] = []

    def special(self, value: Any, index: str) -> Any:
        if isinstance(value, nn.Module):
            return self.layer(value, index)
        if isinstance(value, torch.Tensor):
            return self.tensor(value, index)
        return NotImplemented

    def layer(self, module: nn.Module, index: str) -> dict[str, Any]:
        module = _before_compiling(module)
        if id(module) in self._layers:
            return {"$": "same_layer", "v": self._layers[id(module)]}
        parametrized = is_parametrized(module)
        cls: Any = type(module).__bases__[0] if parametrized else type(module)
        label = f"layer {index or 'network'}"
        if "<locals>" in cls.__qualname__ and not is_found(cls):
            raise UndescribableError(f"{label} is of a class defined in a function, {cls.__qualname__}")
        reason = refusal(cls) or _state_refusal(cls)
        if reason:
            raise UndescribableError(f"{label} is of the class {name_of(cls)}: {reason}")
        while index in self._places:
            index += "_"
        self._places.add(index)
        self._layers[id(module)] = index
        try:
            state: Any = cls.__getstate__(module)
        except Exception as error:
            raise UndescribableError(f"{label} ({cls.__name__}) gives no state: {error}") from error
        if not isinstance(state, dict):
            raise UndescribableError(f"{label} ({cls.__name__}) has a state of its own kind")
        # The state may be made for this call: what is kept by identity has to outlive it.
        self._alive.append(state)
        own = {key: value for key, value in state.items() if not _is_fresh(key, value) and not is_cached(cls, key)}
        norms = describe_norms(module)
        made_again = {norm["name"] for norm in norms} | {
            key for key in HOOKS_OF_NORMS if all(map(is_hook_of_norm, own.get(key, {}).values()))
        }
        own = {key: value for key, value in own.items() if key not in made_again}
        for key, value in own.items():
            reason = attribute_refusal(cls, key) or _value_refusal(cls, key, value)
            if reason:
                raise UndescribableError(f"{label} ({cls.__name__}) cannot be made again from JSON: {reason}")
        prefix = f"{index}." if index else ""
        body = {key: self._entry(key, value, prefix) for key, value in own.items()}
        layer = {"$": "layer", "class": name_of(cls), "id": index, "state": body}
        return {**layer, **({"parametrized": True} if parametrized else {}), **({"norms": norms} if norms else {})}

    def _entry(self, key: str, value: Any, prefix: str) -> Any:
        if key in _MEMBERS:
            return {
                "$": "dict",
                "v": [[name, encode(item, f"{prefix}{name}", self.special)] for name, item in value.items()],
            }
        return encode(value, f"{prefix}{key}", self.special)

    def tensor(self, value: torch.Tensor, index: str) -> dict[str, Any]:
        if id(value) in self._names:
            return {"$": "tensor", "name": self._names[id(value)]}
        if type(value) not in (torch.Tensor, nn.Parameter) or value.is_nested or value.is_mkldnn:
            raise UndescribableError(f"{index} holds a tensor of the kind {type(value).__name__}, {value.layout}")
        name = index
        while name in self.tensors:
            name += "_"
        self._names[id(value)] = name
        self._alive.append(value)
        self.tensors[name] = value
        return {
            "$": "tensor",
            "name": name,
            "parameter": isinstance(value, nn.Parameter),
            "grad": bool(value.requires_grad and value.is_leaf),
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
        }


class _Builder:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._saved = tensors
        self._made: dict[str, torch.Tensor] = {}
        self._layers: dict[str, nn.Module] = {}

    def special(self, kind: str, value: dict[str, Any]) -> Any:
        if kind == "tensor":
            return self._tensor(value)
        if kind == "layer":
            return self._layer(value)
        if kind == "same_layer" and value.get("v") in self._layers:
            return self._layers[value["v"]]
        raise NetworkError(f"the description of the network holds {value!r}, which this sparkdl does not know")

    def _layer(self, value: dict[str, Any]) -> nn.Module:
        name, index, attributes = str(value["class"]), value["id"], value["state"]
        cls = network_class(name)
        reason = _state_refusal(cls)
        if reason:
            raise NetworkError(f"the network class {name} is refused: {reason}")
        if not isinstance(index, str) or index in self._layers or not isinstance(attributes, dict):
            raise NetworkError(f"the description of a layer of {name} is damaged")
        module = _bare(cls, name)
        self._layers[index] = module
        state = {key: decode(item, self.special) for key, item in attributes.items()}
        state = {key: item for key, item in state.items() if not (key in HOOKS and not item)}
        for key, item in state.items():
            reason = attribute_refusal(cls, key) or _value_refusal(cls, key, item)
            if reason:
                raise NetworkError(f"layer {index or 'network'} ({name}) has an attribute that is refused: {reason}")
        try:
            module.__setstate__(state)
        except Exception as error:
            raise NetworkError(
                f"layer {index or 'network'} ({name}) does not take its attributes: {error!r}"
            ) from error
        _compute_again(module, value)
        return module

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        name = value["name"]
        if name in self._made:
            return self._made[name]
        saved = self._saved.get(name)
        if saved is None or list(saved.shape) != value["shape"] or str(saved.dtype) != f"torch.{value['dtype']}":
            raise NetworkError(f"the tensor {name!r} is missing from the weights, or of another shape or dtype")
        made = nn.Parameter(saved, value["grad"]) if value["parameter"] else saved.requires_grad_(value["grad"])
        self._made[name] = made
        return made


def _before_compiling(module: nn.Module) -> nn.Module:
    """Return the network that ``torch.compile`` was given: what it has made of it belongs to this process."""
    while f"{type(module).__module__}:{type(module).__qualname__}" == "torch._dynamo.eval_frame:OptimizedModule":
        module = module.get_submodule("_orig_mod")
    return module


def _check_paths(network: nn.Module) -> None:
    """Refuse a network in which layers that are shared are reached in more ways than torch could ever go.

    ``module.eval()`` and ``module.to()`` go into a shared layer once for each way that leads there.
    """
    ways: dict[int, int] = {}

    def count(module: nn.Module) -> int:
        if id(module) not in ways:
            ways[id(module)] = _MOST_PATHS + 1  # A layer inside of itself.
            ways[id(module)] = 1 + sum(count(child) for child in module.children())
        return ways[id(module)]

    if count(network) > _MOST_PATHS:
        raise NetworkError("its layers hold each other in more ways than a network can: the file is damaged")


def _compute_again(layer: nn.Module, described: Mapping[str, Any]) -> None:
    """Let a layer compute those of its weights again that parametrizations and norms compute."""
    cls, norms = type(layer), described.get("norms", [])
    names = [str(norm.get("name")) for norm in norms]
    held = layer._modules.get("parametrizations") if described.get("parametrized") is True else None
    if held is not None:
        if type(held) is not nn.ModuleDict or not all(type(each) is ParametrizationList for each in held.values()):
            raise NetworkError(f"the parametrizations of a layer of {name_of(cls)} are damaged")
        names += list(held._modules)
    for name in names:
        reason = attribute_refusal(cls, name) or ("it is there already" if hasattr(layer, name) else "")
        if reason:
            raise NetworkError(f"the weight {name!r} of a layer of {name_of(cls)} is refused: {reason}")
    for norm in norms:
        add_norm(layer, norm)
    if held is not None:
        parametrize(layer, held._modules)


def _bare(cls: type[nn.Module], name: str) -> nn.Module:
    try:
        module: nn.Module = object.__new__(cls)
    except TypeError as error:
        raise NetworkError(f"the network class {name} cannot be made without its constructor: {error}") from error
    nn.Module.__init__(module)
    return module


def _is_fresh(key: str, value: Any) -> bool:
    fresh = _FRESH.get(key, NotImplemented)
    return (
        type(value) is type(fresh) and (fresh is None or isinstance(fresh, (bool, dict, set))) and bool(value == fresh)
    )


def _state_refusal(cls: type) -> str:
    """Return why a file may not give a state to instances of a class, or "" where it may."""
    taker = next(base for base in cls.__mro__ if "__setstate__" in vars(base))
    reason = refusal(cls, called=True)
    if taker is nn.Module or not reason or not refusal(taker, called=True):
        return ""
    return f"it has a __setstate__ of its own, and {reason}"


def _value_refusal(cls: type, key: str, value: Any) -> str:
    """Return why the value of an attribute is not of the kind that it must be, or "" if it is."""
    if key in _MEMBERS:
        return _members_refusal(cls, key, value)
    if key == "training":
        return "" if isinstance(value, bool) else "training is no bool"
    if key == "_is_full_backward_hook":
        return "" if value is None or isinstance(value, bool) else f"{key} is no bool"
    if key == "_non_persistent_buffers_set":
        fits = isinstance(value, set) and all(isinstance(name, str) for name in value)
        return "" if fits else f"{key} is no set of names"
    if key == "_all_weights" and issubclass(cls, nn.RNNBase):
        # Of anything else nn.RNNBase makes names itself, as many as another attribute says.
        fits = isinstance(value, list) and all(isinstance(names, list) for names in value)
        fits = fits and all(isinstance(name, str) for names in value for name in names) and all(value)
        return "" if fits and value else f"{key} is no list of lists of names"
    return ""


def _members_refusal(cls: type, key: str, value: Any) -> str:
    if not isinstance(value, dict):
        return f"{key} is no dict"
    for name, item in value.items():
        reason = attribute_refusal(cls, name)
        if reason or "." in name:
            return reason or f"{name!r} in {key} has a dot"
        if item is not None and not isinstance(item, _MEMBERS[key]):
            return f"{name!r} in {key} is a {type(item).__name__}"
    return ""
