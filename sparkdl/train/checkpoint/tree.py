"""Nested state as JSON with tensors beside it, and back: no pickle, and the same values bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparkdl.comm.wire import bytes_of, is_dense, parts_of
from sparkdl.errors import PersistenceError
from sparkdl.train.checkpoint.tensor_file import DTYPES

_TENSOR, _PAIRS, _TUPLE, _COUNTER, _BYTES, _ARRAY = "$tensor", "$pairs", "$tuple", "$counter", "$bytes", "$array"
_RAW, _SPARSE = "$raw", "$sparse"
_MARKS = frozenset({_TENSOR, _PAIRS, _TUPLE, _COUNTER, _BYTES, _ARRAY, _RAW, _SPARSE})


def flatten(value: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the value as JSON, and the tensors in it by the names that stand in their places.

    Parameters
    ----------
    value : object
        None, numbers, texts, bytes, tensors and arrays, also in lists, tuples and dicts with such keys.
    name : str
        What it is, for errors and names of tensors.

    Raises
    ------
    PersistenceError
        Something else is in it; says where.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(value, name, tensors), tensors


def unflatten(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `flatten` was given.

    Raises
    ------
    PersistenceError
        It is damaged.
    """
    try:
        return _decode(skeleton, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise PersistenceError(f"its state does not fit together: {type(error).__name__}: {error}") from error


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        return _encode_tensor(value.detach(), where, tensors)
    if isinstance(value, np.generic):
        return _encode(value.item(), where, tensors)
    if isinstance(value, np.ndarray):
        tensors[where] = torch.from_numpy(np.array(value, order="C"))
        return {_ARRAY: where}
    if isinstance(value, bytes):
        return {_BYTES: value.hex()}
    if isinstance(value, (list, tuple)):
        items = [_encode(each, f"{where}.{index}", tensors) for index, each in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if isinstance(value, Mapping):
        return _encode_mapping(value, where, tensors)
    raise PersistenceError(
        f"{where} is of type {type(value).__name__}: a checkpoint holds tensors, numbers and texts, also in lists and "
        "dicts"
    )


def _encode_tensor(value: Tensor, where: str, tensors: dict[str, Tensor]) -> Any:
    layout = str(value.layout).removeprefix("torch.")
    if value.is_quantized or value.is_nested or value.is_mkldnn:
        raise PersistenceError(f"{where} is a quantized or {layout} tensor, which a checkpoint does not hold")
    if not is_dense(value):
        return {_SPARSE: [layout, list(value.shape), _encode(parts_of(value), where, tensors)]}
    if value.dtype in DTYPES:
        tensors[where] = value
        return {_TENSOR: where}
    tensors[where] = bytes_of(value)
    return {_RAW: [where, str(value.dtype).removeprefix("torch."), list(value.shape)]}


def _encode_mapping(value: Mapping[Any, Any], where: str, tensors: dict[str, Tensor]) -> Any:
    items = {key: _encode(each, f"{where}.{key}", tensors) for key, each in value.items()}
    if isinstance(value, Counter):
        return {_COUNTER: [[key, each] for key, each in items.items()]}
    if all(type(key) is str for key in items) and not _MARKS & items.keys():
        return items
    if not all(key is None or type(key) in (bool, int, float, str) for key in items):
        raise PersistenceError(f"{where} is a dict whose keys are neither numbers nor texts")
    return {_PAIRS: [[key, each] for key, each in items.items()]}


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    mark = next(iter(value), None) if len(value) == 1 else None
    if mark not in _MARKS:
        return {key: _decode(each, tensors) for key, each in value.items()}
    content = value[mark]
    if mark == _TENSOR:
        return tensors[content]
    if mark == _ARRAY:
        return tensors[content].numpy()
    if mark == _RAW:
        where, dtype, shape = content
        return tensors[where].view(getattr(torch, dtype)).view(shape)
    if mark == _SPARSE:
        layout, shape, parts = content
        return _decode_sparse(layout, shape, _decode(parts, tensors))
    if mark == _BYTES:
        return bytes.fromhex(content)
    if mark == _TUPLE:
        return tuple(_decode(each, tensors) for each in content)
    pairs = {key: _decode(each, tensors) for key, each in content}
    return Counter(pairs) if mark == _COUNTER else pairs


def _decode_sparse(layout: str, shape: list[int], parts: list[Tensor]) -> Tensor:
    if layout == "sparse_coo":
        indices, values = parts
        return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)
    compressed, plain, values = parts
    kind = getattr(torch, layout)
    return torch.sparse_compressed_tensor(compressed, plain, values, size=shape, layout=kind, check_invariants=True)
