"""Tensors as a stream in the safetensors format, so that a file on any file system needs no copy of the whole.

The safetensors library writes to a local path, or makes the whole file in memory; this writes and reads one tensor at
a time. What it writes that library reads.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from typing import IO, Any

import torch
from torch import Tensor

from sparkdl.errors import PersistenceError

_MOST_HEADER = 16 << 20
_PIECE = 8 << 20
"""Bytes that are written or read at a time."""
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64",
}  # fmt: skip
DTYPES = frozenset(_NAMES)
"""What the format has a name for."""
_BY_NAME = {name: dtype for dtype, name in _NAMES.items()}


def write_tensors(stream: IO[bytes], tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Write tensors on the CPU, by name; return the bytes of the file and their CRC-32.

    Raises
    ------
    PersistenceError
        The format has no name for a type.
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise PersistenceError(f"{name} is a tensor of {tensor.dtype}, which the safetensors format cannot hold")
        begin, end = end, end + tensor.numel() * tensor.itemsize
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    crc = 0
    for piece in (len(head).to_bytes(8, "little"), head):
        stream.write(piece)
        crc = zlib.crc32(piece, crc)
    for tensor in tensors.values():
        for view in _pieces(tensor):
            stream.write(view)
            crc = zlib.crc32(view, crc)
    return 8 + len(head) + end, crc


def read_tensors(stream: IO[bytes], size: int, crc: int) -> dict[str, Tensor]:
    """Return the tensors of a file of so many bytes with this CRC-32.

    Raises
    ------
    PersistenceError
        It is damaged.
    """
    reader = _Reader(stream)
    length = int.from_bytes(reader.take(8), "little")
    if length > min(_MOST_HEADER, size - 8):
        raise PersistenceError(f"its header claims {length:,} bytes")
    try:
        header = json.loads(reader.take(length))
        fields = [(name, *_checked(about)) for name, about in header.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PersistenceError(f"its header is damaged: {type(error).__name__}: {error}") from error
    tensors: dict[str, Tensor] = {}
    end = 0
    for name, dtype, shape, (begin, stop) in fields:
        if begin != end or stop - begin != prod(shape) * dtype.itemsize or stop > size - 8 - length:
            raise PersistenceError(f"its tensor {name!r} does not lie where it should")
        end = stop
        tensors[name] = torch.empty(shape, dtype=dtype)
        for view in _pieces(tensors[name]):
            reader.fill(view)
    if end != size - 8 - length or stream.read(1):
        raise PersistenceError("it is longer than its tensors")
    if reader.crc != crc:
        raise PersistenceError("its checksum is another one")
    return tensors


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a dense tensor on the CPU; those of a contiguous one are its own memory."""
    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    """Yield the bytes of a tensor, a few MiB at a time; a contiguous one is not copied."""
    whole = bytes_of(tensor)
    for start in range(0, len(whole), _PIECE):
        yield whole[start : start + _PIECE]


def _checked(about: Any) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    shape, offsets = about["shape"], about["data_offsets"]
    if not (isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 64):
        raise ValueError(f"it describes a tensor as {about}")
    # Also a tensor without numbers has strides, which have to be numbers of 64 bits.
    whole = all(type(each) is int and 0 <= each < 1 << 62 for each in [*shape, *offsets])
    if not whole or prod(each for each in shape if each) >= 1 << 62:
        raise ValueError(f"it describes a tensor as {about}")
    return _BY_NAME[about["dtype"]], shape, (offsets[0], offsets[1])


class _Reader:
    """Reads a stream and sums up its CRC-32."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.crc = 0

    def take(self, count: int) -> bytes:
        data = bytearray(count)
        self.fill(memoryview(data))
        return bytes(data)

    def fill(self, view: memoryview) -> None:
        position = 0
        while position < len(view):
            piece = self._stream.read(len(view) - position)
            if not piece:
                raise PersistenceError("it ends too early")
            view[position : position + len(piece)] = piece
            position += len(piece)
        self.crc = zlib.crc32(view, self.crc)
