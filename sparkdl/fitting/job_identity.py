"""Which fits are the same job: a hash of what decides the result, made of names, values and code, not of pickles."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from sparkdl.data.sampling.plan import Plan
from sparkdl.train.checkpoint.tensor_file import bytes_of
from sparkdl.train.config import TrainConfig
from sparkdl.train.weights import beside_state

_DEEPEST = 12
_LIBRARIES = ("torch.", "sparkdl.", "torchmetrics.")
_NOT_OF_THE_JOB = ("epochs", "device", "label_names", "compile", "matmul_precision", "channels_last")
"""Settings of which a job may be given others: it goes on. The names of the labels are those of the rows."""


def job_of(config: TrainConfig, module: nn.Module, plans: Sequence[Plan], rows: Any) -> str:
    """Return the identity of a job, 24 hexadecimal digits.

    Two fits are the same job if settings, rows, steps and architecture are; epochs, ranks, device and the network's
    first weights do not count.

    Parameters
    ----------
    config : TrainConfig
    module : nn.Module
        Its classes, sizes and layers count.
    plans : sequence of Plan
        Of the rows to learn from, and of those that are only measured.
    rows : object
        What identifies the rows, whatever files they lie in.
    """
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _NOT_OF_THE_JOB}
    parts = [
        _described(settings, 0),
        _architecture(module),
        [_plan(plan) for plan in plans],
        _described(rows, 0),
    ]
    return _digest(json.dumps(parts).encode())[:24]


def weights_digest(module: nn.Module) -> str:
    """Return a hash of all parameters, buffers and plain tensors."""
    digest = hashlib.sha256()
    for name, tensor in {**module.state_dict(), **beside_state(module)}.items():
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _plan(plan: Plan) -> list[Any]:
    # How the rows lie in files decides their order, not which rows they are.
    return [[f.name, getattr(plan, f.name)] for f in fields(plan) if f.name != "row_groups"]


def _architecture(module: nn.Module) -> list[Any]:
    """Names, shapes and types of all tensors, the layers as they print themselves, and the code of classes of users."""
    classes = {type(layer) for layer in module.modules()}
    own = [cls for cls in classes if not cls.__module__.startswith(_LIBRARIES)]
    return [
        repr(module),
        [[name, list(t.shape), str(t.dtype), t.requires_grad] for name, t in module.named_parameters()],
        [[name, list(t.shape), str(t.dtype)] for name, t in module.named_buffers()],
        sorted([_name(cls), json.dumps(_described(_functions(cls), 0))] for cls in own),
    ]


def _functions(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if isinstance(value, FunctionType)}


def _described(value: Any, depth: int) -> Any:
    """Return JSON that is another one where the value is; objects that tell nothing are their class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth > _DEEPEST:
        return _name(type(value))
    inner = functools.partial(_described, depth=depth + 1)
    if isinstance(value, (type, FunctionType, CodeType, MethodType, functools.partial)):
        return _code(value, inner)
    if isinstance(value, (torch.Tensor, np.ndarray, bytes)):
        return _numbers(value, inner)
    if isinstance(value, Mapping):
        return ["mapping", sorted([json.dumps(inner(key)), json.dumps(inner(each))] for key, each in value.items())]
    if isinstance(value, (set, frozenset)):
        return ["set", sorted(json.dumps(inner(each)) for each in value)]
    if isinstance(value, (list, tuple)):
        return [inner(each) for each in value]
    return ["object", inner(type(value)), _content(value, inner)]


def _numbers(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, bytes):
        return ["bytes", _digest(value)]
    if isinstance(value, torch.Tensor):
        return ["tensor", str(value.dtype), list(value.shape), _digest(_bytes(value))]
    return inner(value.tolist() if value.dtype.hasobject else torch.from_numpy(np.ascontiguousarray(value)))


def _code(value: Any, inner: Callable[[Any], Any]) -> list[Any]:
    if isinstance(value, type):
        return ["class", _name(value), [] if value.__module__.startswith(_LIBRARIES) else inner(_functions(value))]
    if isinstance(value, CodeType):
        return ["code", _digest(value.co_code), list(value.co_names), inner(value.co_consts)]
    if isinstance(value, MethodType):
        return ["method", inner(value.__func__), inner(value.__self__)]
    if isinstance(value, functools.partial):
        return ["partial", inner(value.func), inner(value.args), inner(value.keywords)]
    cells = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
    parts = (value.__code__, value.__defaults__, value.__kwdefaults__, cells)
    return ["function", value.__qualname__, *map(inner, parts)]


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _content(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, nn.Module):
        return [_architecture(value), weights_digest(value)]
    if is_dataclass(value):
        return [[f.name, inner(getattr(value, f.name))] for f in fields(value)]
    # What begins with a line is what the object has learned, and not what it was told.
    public = {name: each for name, each in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return inner(public)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _bytes(tensor: torch.Tensor) -> Any:
    plain = tensor.detach().cpu()
    if plain.layout != torch.strided or plain.is_quantized or not plain.numel():
        return repr(plain).encode()
    return bytes_of(plain)


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()
