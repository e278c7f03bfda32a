"""Params as JSON and back. What is not JSON is saved as a reference to a name, or a network in a folder beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from pyspark.ml.param import Params
from torch import nn

from sparkdl.errors import NetworkError, PersistenceError
from sparkdl.network.registry import find, name_of, registered, remedy
from sparkdl.network.resolve import STRUCTURE, Reference
from sparkdl.network.values import UndescribableError, decode, encode
from sparkdl.persistence.networks import read_network, write_network
from sparkdl.persistence.trusted import is_trusted
from sparkdl.schema import DataSchema

FOLDER = "params"

_BASES: tuple[type, ...] = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
_CALLBACK = "sparkdl.train.callbacks:Callback"


def params_to_json(stage: Params, folder: Path) -> dict[str, dict[str, Any]]:
    """Return ``paramMap`` and ``defaultParamMap``; networks go into folders under `folder`. Secrets are left out.

    Raises
    ------
    PersistenceError
        Names the Param that has no saved form.
    """

    def values(source: dict[Any, Any]) -> dict[str, Any]:
        shown = {param.name: value for param, value in source.items() if not getattr(param, "secret", False)}
        return {name: _encode(name, value, folder) for name, value in shown.items()}

    return {"paramMap": values(stage._paramMap), "defaultParamMap": values(stage._defaultParamMap)}


def set_params(stage: Params, saved: dict[str, Any], folder: Path) -> None:
    """Set the Params and the defaults of a stage from its metadata.

    Raises
    ------
    PersistenceError
        If a Param is unknown or refers to what is not known here.
    """
    for name, value in saved["paramMap"].items():
        if not stage.hasParam(name):
            raise PersistenceError(
                f"{type(stage).__name__} has no Param {name!r}, the saved one has: load it with the sparkdl "
                f"that wrote it ({saved.get('sparkdlVersion', 'unknown')}), or a later one"
            )
        stage._set(**{name: _decode(name, value, folder)})
    known = {name: value for name, value in saved.get("defaultParamMap", {}).items() if stage.hasParam(name)}
    stage._setDefault(**{name: _decode(name, value, folder) for name, value in known.items()})


def _encode(name: str, value: Any, folder: Path) -> Any:
    count = 0

    def special(item: Any, place: str) -> Any:
        nonlocal count
        if isinstance(item, nn.Module):
            place_on_disk = f"{FOLDER}/{name}-{count}"
            count += 1
            write_network(item, Reference(STRUCTURE), folder / place_on_disk)
            return {"$": "network", "v": place_on_disk}
        if isinstance(item, type) and issubclass(item, _BASES):
            return _reference(item, place)
        if isinstance(item, FunctionType):
            return _reference(item, place)
        if any(name_of(base) == _CALLBACK for base in type(item).__mro__):
            state = encode(dict(vars(item)), place, special)
            return {"$": "callback", "class": _reference(type(item), place)["v"], "state": state}
        return NotImplemented

    try:
        return encode(value, name, special)
    except UndescribableError as error:
        raise PersistenceError(
            f"{name} cannot be saved: {error}; use a name, or a class or a function of an importable module"
        ) from error


def _reference(value: Any, place: str) -> dict[str, Any]:
    name = name_of(value)
    if find(name) is not value:
        raise UndescribableError(f"{place} holds {name}, which cannot be found again by its name")
    return {"$": "object", "v": name}


def _decode(name: str, value: Any, folder: Path) -> Any:
    def special(kind: str, item: dict[str, Any]) -> Any:
        if kind == "network":
            return _read_network(str(item["v"]), folder)
        if kind == "object":
            return _find(name, str(item["v"]))
        if kind == "callback":
            return _callback(name, item, special)
        raise PersistenceError(f"{name} holds a value of the unknown kind {kind!r}: a later sparkdl has written it")

    try:
        return decode(value, special)
    except NetworkError as error:
        raise PersistenceError(f"{name} cannot be loaded: {error}") from error


def _read_network(place: str, folder: Path) -> nn.Module:
    path = (folder / place).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise PersistenceError(f"a Param refers to {place!r}, which lies outside of its own folder")
    return read_network(path, DataSchema(())).module


def _find(param: str, name: str) -> Any:
    found = find(name)
    if found is None and is_trusted():
        found = _imported(name)
    if found is None:
        raise PersistenceError(f"{param} refers to {name}, which is not known here: {remedy(name)}")
    if isinstance(found, type):
        if issubclass(found, (*_BASES, *_callback_bases(found))):
            return found
        raise PersistenceError(f"{param} refers to the class {name}, which is no network, optimizer or schedule")
    # A function from a file would be called by fit: any function of this process could be named there.
    if (isinstance(found, FunctionType) and registered(name) is found) or (is_trusted() and callable(found)):
        return found
    raise PersistenceError(
        f"{param} refers to the function {name}: call sparkdl.register on it before loading, or load with trusted=True"
    )


def _callback_bases(found: type) -> tuple[type, ...]:
    return tuple(base for base in found.__mro__ if name_of(base) == _CALLBACK)


def _imported(name: str) -> Any:
    module_name, _, qualified = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _callback(param: str, item: dict[str, Any], special: Any) -> Any:
    cls = _find(param, str(item["class"]))
    if not (isinstance(cls, type) and _callback_bases(cls)):
        raise PersistenceError(f"{param} holds {item['class']}, which is no sparkdl.train.Callback")
    made: Any = object.__new__(cls)
    vars(made).update(decode(item["state"], special))
    return made
