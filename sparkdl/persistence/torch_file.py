"""Reading what ``torch.save`` has written of a dict of tensors, and nothing else.

``torch.load(weights_only=True)`` runs no code either, but believes the sizes that it finds: a few bytes can ask for
gigabytes, as views that repeat one number, compressed members, or arrays of a length. Here each tensor has to lie
within the member of the file that holds its numbers, so that all take no more memory than the file is long.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparkdl.errors import PersistenceError

_MOST_PICKLED = 16 << 20
_MOST_DIMENSIONS = 64
_CHUNK = 4 << 20
_OPCODES = (
    pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1,
    pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1,
    pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.BINPUT,
    pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.GLOBAL, pickle.BINPERSID, pickle.REDUCE,
)  # fmt: skip
"""What stands in such a file. None of them takes memory by a length that is not there."""
_BYTES_OF = {
    **dict.fromkeys((pickle.EMPTY_DICT, pickle.REDUCE), 32),
    **dict.fromkeys((pickle.MARK, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 5),
}
"""Opcodes of one byte that make larger objects, and how many bytes of a file there are to each of them at least."""
_SPARE = 256


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU; tensors that share memory in the file do so here.

    Raises
    ------
    PersistenceError
        If it holds anything else, or less than it says.
    """
    with zipfile.ZipFile(path) as archive:
        everything = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in everything):
            raise PersistenceError("it has compressed members")
        if sum(member.file_size for member in everything) > path.stat().st_size:
            raise PersistenceError("its members are longer than itself")
        members = {member.filename: member for member in everything}
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1 or members[pickles[0]].file_size > _MOST_PICKLED:
            raise PersistenceError("it has not one pickle of tensors")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in members and archive.read(order).decode() != sys.byteorder:
            raise PersistenceError("it was written on a machine with another byte order")
        content = _Reader(archive, folder).load()
    if not isinstance(content, dict):
        raise PersistenceError("it does not hold tensors by name")
    return content


def tensor_within(numbers: torch.UntypedStorage, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
    """Return a tensor in memory that is there.

    Raises
    ------
    PersistenceError
        If it reaches out of it, or has more numbers than are there.
    """
    _check(_Storage(numbers, dtype), offset, size, stride)
    return torch.empty(0, dtype=dtype).set_(numbers, offset, size, stride)


_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8,
    "QInt32Storage": torch.qint32,
}


class _Storage(NamedTuple):
    numbers: torch.UntypedStorage
    dtype: torch.dtype


def _limited(opcode: bytes) -> Callable[[Any], None]:
    load: Callable[[Any], None] = pickle._Unpickler.dispatch[opcode[0]]
    if opcode not in _BYTES_OF:
        return load

    def limited(reader: _Reader) -> None:
        reader.left[opcode] -= 1
        if reader.left[opcode] < 0:
            raise PersistenceError("its pickle makes more objects than tensors need")
        load(reader)

    return limited


class _Reader(pickle._Unpickler):
    """Python's own unpickler, reduced to the opcodes and the names that tensors are written with."""

    dispatch = {opcode[0]: _limited(opcode) for opcode in _OPCODES}

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        pickled = archive.read(f"{folder}data.pkl")
        super().__init__(io.BytesIO(pickled))
        self.left = {opcode: _SPARE + len(pickled) // least for opcode, least in _BYTES_OF.items()}
        self._archive, self._folder = archive, folder
        self._storages: dict[str, torch.UntypedStorage] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get(f"{module}.{name}")
        if known is None and module == "torch":
            known = _STORAGES.get(name) or vars(torch).get(name)
            known = known if isinstance(known, (torch.dtype, torch.qscheme)) else None
        if known is None:
            raise PersistenceError(f"it refers to {module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid
        if key not in self._storages:
            self._storages[key] = self._read(f"{self._folder}data/{key}")
        numbers = self._storages[key]
        if kind != "storage" or numbers.nbytes() != count * dtype.itemsize:
            raise PersistenceError(f"its storage {key!r} has another length than it says")
        return _Storage(numbers, dtype)

    def _read(self, name: str) -> torch.UntypedStorage:
        # Into the tensor's own memory, so that it is not there twice.
        numbers = torch.empty(self._archive.getinfo(name).file_size, dtype=torch.uint8)
        free = numbers.numpy().data
        with self._archive.open(name) as member:
            while part := member.read(_CHUNK):
                free[: len(part)] = part
                free = free[len(part) :]
        if free:
            raise PersistenceError(f"its member {name!r} is cut")
        return numbers.untyped_storage()


def _strided(storage: _Storage, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, bits: Any = None) -> Tensor:
    if bits:
        raise PersistenceError("it has a tensor that is not what its numbers say")
    return tensor_within(storage.numbers, storage.dtype, offset, size, stride)


def _untyped(storage: _Storage, offset: int, size: Any, stride: Any, *more: Any) -> Tensor:
    grad, hooks, dtype, *bits = more
    return _strided(storage._replace(dtype=dtype), offset, size, stride, grad, hooks, *bits)


def _quantized(storage: _Storage, offset: int, size: Any, stride: Any, quantizer: Any, *_: Any) -> Tensor:
    _check(storage, offset, size, stride)
    typed = torch.storage.TypedStorage(wrap_storage=storage.numbers, dtype=storage.dtype, _internal=True)
    made: Tensor = torch._utils._rebuild_qtensor(typed, offset, size, stride, quantizer, False, OrderedDict())
    return made


def _sparse(layout: torch.layout, parts: tuple[Any, ...]) -> Tensor:
    if layout == torch.sparse_coo:
        indices, values, size, *coalesced = parts
        made = torch.sparse_coo_tensor(indices, values, size, check_invariants=True)
        return made._coalesced_(bool(coalesced and coalesced[0]))
    compressed, plain, values, size = parts
    return torch.sparse_compressed_tensor(compressed, plain, values, size, layout=layout, check_invariants=True)


def _check(storage: _Storage, offset: int, size: Any, stride: Any) -> None:
    """Refuse a tensor that reaches out of its storage, or has more numbers than are there."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise PersistenceError("it has a tensor of a size that is none")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and max(count, last + 1) * storage.dtype.itemsize > storage.numbers.nbytes():
        raise PersistenceError("it has a tensor that is larger than what is there of it")


def _layout(name: str) -> torch.layout:
    found = vars(torch).get(str(name).removeprefix("torch."))
    if not isinstance(found, torch.layout):
        raise PersistenceError(f"it has a tensor of the unknown layout {name!r}")
    return found


_KNOWN: dict[str, Callable[..., Any] | torch.dtype] = {
    "torch._utils._rebuild_tensor_v2": _strided,
    "torch._utils._rebuild_tensor_v3": _untyped,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch.serialization._get_layout": _layout,
    "torch.Size": torch.Size,
    "torch.storage.UntypedStorage": torch.uint8,
    "collections.OrderedDict": OrderedDict,
}
