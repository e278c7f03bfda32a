"""Tensors in a file of the safetensors format, which holds numbers and a header of JSON, and cannot hold code.

The format knows neither memory that tensors share nor an order of dimensions. Both are written into its metadata, so
that every tensor is read as it was; other programs find the tensors that own their memory under their own names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparkdl.errors import PersistenceError
from sparkdl.persistence.torch_file import tensor_within

_METADATA = "sparkdl"
_MOST_HEADER = 64 << 20
_MOST_DIMENSIONS = 64
_ALIGNMENT = 16
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
        torch.bool,
    )
}  # fmt: skip
"""What every version of safetensors that we allow can hold."""


class _Span(NamedTuple):
    """The bytes of a storage that a tensor reaches, from `begin` until before `end`."""

    begin: int
    end: int
    name: str
    tensor: Tensor


@dataclass
class _Content:
    """What goes into a file, or has come out of it."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    views: dict[str, list[Any]] = field(default_factory=dict)
    """By name: the tensor in whose memory it lies, the byte at which it begins, dtype, size, stride."""
    strides: dict[str, list[int]] = field(default_factory=dict)
    """Of tensors whose dimensions lie in another order in memory than in the file."""
    storages: list[str] = field(default_factory=list)
    """Tensors of the file that are none of the caller's, only memory that some of those share."""


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Write tensors by name, and return those that the format cannot hold: sparse, quantized and complex ones.

    Tensors that share memory do so after reading. What repeats its numbers (``expand``) is written out.

    Raises
    ------
    PersistenceError
        If one that the format cannot hold shares its memory with one of another dtype.
    """
    content = _Content()
    rest: dict[str, Tensor] = {}
    for group in _groups(tensors):
        if all(_fits(span.tensor) for span in group):
            _add(content, group, tensors)
        elif len({span.tensor.dtype for span in group}) > 1:
            names = " and ".join(repr(span.name) for span in group)
            raise PersistenceError(f"{names} are tensors of different types in the same memory: copy one with clone()")
        else:
            rest.update({span.name: span.tensor for span in group})
    about = {
        "views": content.views,
        "strides": content.strides,
        "storages": content.storages,
        "complete": not rest,
    }
    save_file(content.tensors, path, metadata={"format": "pt", _METADATA: json.dumps(about)})
    return rest


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return the tensors of a file, on the CPU in memory of their own, and whether these are all that were written.

    Raises
    ------
    PersistenceError, safetensors.SafetensorError
        If it is damaged.
    """
    _check_header(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        # They are views of the file until they are copied.
        tensors = {name: _checked(file.get_tensor(name)).clone() for name in file.keys()}  # noqa: SIM118
    about = json.loads(metadata.get(_METADATA, "{}"))
    views, strides = about.get("views", {}), about.get("strides", {})
    for name, stride in strides.items():
        tensors[name] = _reordered(tensors[name], stride)
    for name, (base, offset, dtype, size, stride) in views.items():
        if name in tensors or base in views:
            raise PersistenceError(f"its tensor {name!r} is there twice")
        itemsize = _DTYPES[dtype].itemsize
        if type(offset) is not int or offset % itemsize:
            raise PersistenceError(f"its tensor {name!r} begins between two numbers")
        storage = tensors[base].untyped_storage()
        tensors[name] = tensor_within(storage, _DTYPES[dtype], offset // itemsize, size, stride)
    for name in about.get("storages", []):
        del tensors[name]
    return tensors, about.get("complete", True) is True


def _groups(tensors: Mapping[str, Tensor]) -> Iterator[list[_Span]]:
    """Yield the tensors in groups, of which none shares memory with another."""
    by_storage: dict[tuple[torch.device, int], list[_Span]] = {}
    for name, tensor in tensors.items():
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        span = _span(name, tensor.detach()) if plain and tensor.device.type != "meta" else None
        if span is None:
            yield [_Span(0, 0, name, tensor)]
        else:
            by_storage.setdefault((tensor.device, tensor.untyped_storage().data_ptr()), []).append(span)
    for spans in by_storage.values():
        group: list[_Span] = []
        end = 0
        for span in sorted(spans, key=lambda span: span[:2]):
            if group and span.begin >= end:
                yield group
                group = []
            group.append(span)
            end = max(end, span.end)
        yield group


def _span(name: str, tensor: Tensor) -> _Span | None:
    """Return where a tensor lies in its storage; None if it has nothing to share, or may not be shared."""
    last = sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True))
    if not tensor.numel() or tensor.numel() > last + 1 or tensor.is_conj() or tensor.is_neg():
        return None
    begin = int(tensor.storage_offset()) * tensor.itemsize
    return _Span(begin, begin + (last + 1) * tensor.itemsize, name, tensor)


def _fits(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    return plain and tensor.device.type != "meta" and tensor.dtype in _DTYPES.values()


def _add(content: _Content, group: list[_Span], taken: Iterable[str]) -> None:
    """Add tensors that share memory: what holds all of it, and where in it each of the others lies."""
    first = group[0]
    if len(group) == 1:
        tensor = first.tensor.detach().resolve_neg()
        content.tensors[first.name] = (
            tensor.contiguous().cpu() if tensor.numel() else torch.empty(tensor.shape, dtype=tensor.dtype)
        )
        if _is_reordered(tensor):
            content.strides[first.name] = list(tensor.stride())
        return
    begin, end = min(span.begin for span in group), max(span.end for span in group)
    whole = next((span for span in group if _holds(span, begin, end, group)), None)
    if whole is not None:
        base = whole.name
        content.tensors[base] = whole.tensor.cpu()
    else:
        names = (f"{first.name}.storage{number or ''}" for number in count())
        base = next(name for name in names if name not in {*taken, *content.storages})
        begin -= begin % _ALIGNMENT
        dtypes = {span.tensor.dtype for span in group}
        dtype = dtypes.pop() if len(dtypes) == 1 else torch.uint8
        memory = torch.empty(0, dtype=dtype, device=first.tensor.device)
        memory.set_(first.tensor.untyped_storage(), begin // dtype.itemsize, ((end - begin) // dtype.itemsize,), (1,))
        # With the alignment it may reach into the memory of a tensor of another group, which safetensors refuses.
        content.tensors[base] = memory.clone().cpu()
        content.storages.append(base)
    for span in group:
        if span.name != base:
            tensor, dtype_name = span.tensor, str(span.tensor.dtype).removeprefix("torch.")
            content.views[span.name] = [
                base, span.begin - begin, dtype_name, list(tensor.shape), list(tensor.stride())
            ]  # fmt: skip


def _holds(span: _Span, begin: int, end: int, group: list[_Span]) -> bool:
    aligned = all((other.begin - begin) % other.tensor.itemsize == 0 for other in group)
    return span.tensor.is_contiguous() and (span.begin, span.end) == (begin, end) and aligned


def _is_reordered(tensor: Tensor) -> bool:
    """Whether a tensor fills its memory without gaps, in another order of dimensions than the usual one."""
    if tensor.is_contiguous() or tensor.dim() > _MOST_DIMENSIONS:
        return False
    dimensions = sorted(
        (step, length) for step, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1
    )
    expected = 1
    for step, length in dimensions:
        if step != expected:
            return False
        expected *= length
    return True


def _reordered(tensor: Tensor, stride: Any) -> Tensor:
    """Return the same numbers in memory that has the stride; it takes as much."""
    empty = torch.empty(tensor.numel(), dtype=tensor.dtype)
    made = tensor_within(empty.untyped_storage(), tensor.dtype, 0, list(tensor.shape), stride)
    return made.copy_(tensor)


def _check_header(path: Path) -> None:
    """Refuse a header that is longer than the file, or than any that we write, before it is read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(_MOST_HEADER, path.stat().st_size - 8):
        raise PersistenceError(f"its header claims {length:,} bytes")


def _checked(tensor: Tensor) -> Tensor:
    if tensor.dtype not in _DTYPES.values() or tensor.dim() > _MOST_DIMENSIONS:
        raise PersistenceError(f"it has a tensor of {tensor.dtype} with {tensor.dim()} dimensions")
    return tensor
