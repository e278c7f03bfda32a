"""A network layer by layer as JSON and named tensors, and back, for networks that no call can make again.

Layers are made by ``cls.__new__`` from classes that this process knows, and get their attributes back; constructors
are not called. What layers share (tied weights, a layer that is used twice) is shared again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.registry import find_network, name_of, remedy
from sparkdl.network.values import UndescribableError, decode, encode

_FRESH = nn.Module().__dict__


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
    return built


def classes_in(description: Any) -> set[str]:
    """Return the names of all classes in a JSON form."""
    if isinstance(description, list):
        return set().union(*(classes_in(item) for item in description))
    if not isinstance(description, dict):
        return set()
    names = set().union(*(classes_in(item) for item in description.values()))
    if description.get("$") == "layer":
        names.add(str(description.get("class")))
    if description.get("$") == "class":
        names.add(str(description.get("v")))
    return names


class _Describer:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}
        self._layers: dict[int, str] = {}
        self._alive: list[Any] = []

    def special(self, value: Any, place: str) -> Any:
        if isinstance(value, nn.Module):
            return self.layer(value, place)
        if isinstance(value, torch.Tensor):
            return self.tensor(value, place)
        return NotImplemented

    def layer(self, module: nn.Module, place: str) -> dict[str, Any]:
        if id(module) in self._layers:
            return {"$": "same_layer", "v": self._layers[id(module)]}
        cls = type(module)
        if "<locals>" in cls.__qualname__ and find_network(name_of(cls)) is not cls:
            raise UndescribableError(
                f"layer {place or 'network'} is of a class defined in a function, {cls.__qualname__}"
            )
        self._layers[id(module)] = place
        try:
            state: Any = module.__getstate__()
        except Exception as error:
            raise UndescribableError(f"layer {place or 'network'} ({cls.__name__}) gives no state: {error}") from error
        if not isinstance(state, dict):
            raise UndescribableError(f"layer {place or 'network'} ({cls.__name__}) has a state of its own kind")
        # The state may be made for this call: what is kept by identity has to outlive it.
        self._alive.append(state)
        own = {key: value for key, value in state.items() if not _is_fresh(key, value)}
        prefix = f"{place}." if place else ""
        body = {key: self._entry(key, value, prefix) for key, value in own.items()}
        return {"$": "layer", "class": name_of(cls), "id": place, "state": body}

    def _entry(self, key: str, value: Any, prefix: str) -> Any:
        if key in ("_parameters", "_buffers", "_modules") and isinstance(value, dict):
            return {
                "$": "dict",
                "v": [[name, encode(item, f"{prefix}{name}", self.special)] for name, item in value.items()],
            }
        return encode(value, f"{prefix}{key}", self.special)

    def tensor(self, value: torch.Tensor, place: str) -> dict[str, Any]:
        if id(value) in self._names:
            return {"$": "tensor", "name": self._names[id(value)]}
        if type(value) not in (torch.Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
            raise UndescribableError(f"{place} holds a tensor of the kind {type(value).__name__}, {value.layout}")
        name = place
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
        name = str(value["class"])
        cls = find_network(name)
        if cls is None:
            raise NetworkError(f"the network class {name} is not known here: {remedy(name)}")
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        self._layers[value["id"]] = module
        state = {key: decode(item, self.special) for key, item in value["state"].items()}
        module.__setstate__(state)
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


def _is_fresh(key: str, value: Any) -> bool:
    fresh = _FRESH.get(key, NotImplemented)
    return (
        type(value) is type(fresh) and (fresh is None or isinstance(fresh, (bool, dict, set))) and bool(value == fresh)
    )
