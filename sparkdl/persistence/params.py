"""Params as JSON and back. What is not JSON is saved as a reference to a name, or a network in a folder beside it."""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from pyspark.ml.param import Params
from torch import nn

from sparkdl.errors import NetworkError, PersistenceError
from sparkdl.network.allowed import attribute_refusal, is_cached, refusal
from sparkdl.network.registry import find, is_callback, is_found, name_of, registered, remedy
from sparkdl.network.resolve import STRUCTURE, Reference
from sparkdl.network.values import Special, UndescribableError, decode, encode
from sparkdl.params.secrets import reveal
from sparkdl.persistence.networks import read_network, write_network
from sparkdl.persistence.trusted import is_trusted
from sparkdl.schema import DataSchema

FOLDER = "params"

_BASES: tuple[type, ...] = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
_NETWORK = re.compile(rf"{FOLDER}/\w+-[0-9]+", re.ASCII)
"""Where the network of a Param lies."""


def params_to_json(stage: Params, folder: Path) -> dict[str, dict[str, Any]]:
    """Return ``paramMap`` and ``defaultParamMap``; networks go into folders under `folder`. Secrets are left out.

    Raises
    ------
    PersistenceError
        Names the Param that has no saved form.
    """

    def values(source: dict[Any, Any]) -> dict[str, Any]:
        shown = {param.name: value for param, value in source.items() if not getattr(param, "secret", False)}
        return {name: encode_value(name, reveal(value), folder) for name, value in shown.items()}

    return {"paramMap": values(stage._paramMap), "defaultParamMap": values(stage._defaultParamMap)}


def set_params(stage: Params, saved: dict[str, Any], folder: Path) -> None:
    """Set the Params and the defaults of a stage from its metadata.

    Raises
    ------
    PersistenceError
        If a Param is unknown or refers to what is not known here.
    """
    secret = {param.name: getattr(param, "secret", False) for param in stage.params}
    given, defaults = saved["paramMap"], saved.get("defaultParamMap", {})
    for name in given:
        if name not in secret:
            raise PersistenceError(
                f"{type(stage).__name__} has no Param {name!r}, the saved one has: load it with the sparkdl "
                f"that wrote it ({saved.get('sparkdlVersion', 'unknown')}), or a later one"
            )
    for name in (*given, *defaults):
        if secret.get(name):
            raise PersistenceError(f"it sets {name}, which is never saved: remove it from the metadata")
    stage._set(**{name: decode_value(name, value, folder) for name, value in given.items()})
    stage._setDefault(**{name: decode_value(name, value, folder) for name, value in defaults.items() if name in secret})


def encode_value(name: str, value: Any, folder: Path) -> Any:
    """Return a value of the Param `name` as JSON; networks go into folders under `folder`.

    Raises
    ------
    PersistenceError
        If it has no saved form.
    """
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
        if is_callback(type(item)):
            return _encode_callback(item, place, special)
        return NotImplemented

    try:
        return encode(value, name, special)
    except UndescribableError as error:
        raise PersistenceError(
            f"{name} cannot be saved: {error}; use a name, or a class or a function of an importable module"
        ) from error


def _encode_callback(callback: Any, place: str, special: Special) -> dict[str, Any]:
    cls = type(callback)
    state = {key: value for key, value in vars(callback).items() if not is_cached(cls, key)}
    reason = next(filter(None, (attribute_refusal(cls, key) for key in state)), "")
    if reason:
        raise UndescribableError(f"{place} holds a {cls.__qualname__} that cannot be made again: {reason}")
    return {"$": "callback", "class": _named(cls, place), "state": encode(state, place, special)}


def _reference(value: Any, place: str) -> dict[str, Any]:
    name = _named(value, place)
    reason = refusal(value, called=True) if isinstance(value, type) else ""
    if reason:
        raise UndescribableError(f"{place} holds {name}: {reason}")
    return {"$": "object", "v": name}


def _named(value: Any, place: str) -> str:
    name = name_of(value)
    if not is_found(value):
        raise UndescribableError(f"{place} holds {name}, which cannot be found again by its name")
    return name


def decode_value(name: str, value: Any, folder: Path) -> Any:
    """Return what `encode_value` was given.

    Raises
    ------
    PersistenceError
        If it is damaged, or refers to what is not known here.
    """

    def special(kind: str, item: dict[str, Any]) -> Any:
        if kind == "network":
            return _read_network(str(item["v"]), folder)
        if kind == "object":
            return _find(name, str(item["v"]))
        if kind == "callback":
            return _callback(name, item, special)
        raise PersistenceError(f"{name} holds a value of the unknown kind {kind!r}: a later sparkdl has written it")

    try:
        decoded = decode(value, special)
    except NetworkError as error:
        raise PersistenceError(f"{name} cannot be loaded: {error}") from error
    if decoded is None:
        raise PersistenceError(f"{name} has no value")
    return decoded


def _read_network(place: str, folder: Path) -> nn.Module:
    path = (folder / place).resolve()
    if not _NETWORK.fullmatch(place) or not path.is_relative_to(folder.resolve()):
        raise PersistenceError(f"a Param refers to {place!r}, which lies outside of its own folder")
    return read_network(path, DataSchema(())).module


def _find(param: str, name: str) -> Any:
    found = _known(param, name)
    if isinstance(found, type):
        if not issubclass(found, _BASES):
            raise PersistenceError(f"{param} refers to the class {name}, which is no network, optimizer or schedule")
        return _checked(param, found, called=True)
    # A function from a file would be called by fit: any function of this process could be named there.
    if (isinstance(found, FunctionType) and registered(name) is found) or (is_trusted() and callable(found)):
        return found
    raise PersistenceError(
        f"{param} refers to the function {name}: call sparkdl.register on it before loading, or load with trusted=True"
    )


def _known(param: str, name: str) -> Any:
    found = find(name)
    if found is None and is_trusted():
        with suppress(ImportError, AttributeError):
            found = imported(name)
    if found is None:
        raise PersistenceError(f"{param} refers to {name}, which is not known here: {remedy(name)}")
    return found


def _checked(param: str, cls: type, *, called: bool) -> type:
    reason = "" if is_trusted() else refusal(cls, called=called)
    if reason:
        raise PersistenceError(f"{param} refers to the class {name_of(cls)}, which is refused: {reason}")
    return cls


def imported(name: str) -> Any:
    """Return what ``module:qualified.name`` is, after importing its module.

    Raises
    ------
    ImportError, AttributeError
        If there is no such module, or nothing of that name in it.
    """
    module_name, _, qualified = name.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in qualified.split("."):
        found = getattr(found, part)
    return found


def _callback(param: str, item: dict[str, Any], special: Any) -> Any:
    name = str(item["class"])
    found = _known(param, name)
    if not (isinstance(found, type) and is_callback(found)):
        raise PersistenceError(f"{param} holds {name}, which is no sparkdl.train.Callback")
    cls = _checked(param, found, called=False)
    state = decode(item["state"], special)
    if not isinstance(state, dict):
        raise PersistenceError(f"{param} holds a {name} whose attributes are damaged")
    reason = next(filter(None, (attribute_refusal(cls, key) for key in state)), "")
    if reason:
        raise PersistenceError(f"{param} holds a {name} with an attribute that is refused: {reason}")
    made: Any = object.__new__(cls)
    vars(made).update(state)
    return made
