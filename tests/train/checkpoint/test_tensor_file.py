"""Tensors as a stream in the safetensors format."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from sparkdl.errors import PersistenceError
from sparkdl.train.checkpoint.tensor_file import read_tensors, write_tensors

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool,
]  # fmt: skip
TENSORS = {
    "weights": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "transposed": torch.arange(12, dtype=torch.float64).reshape(3, 4).t(),
    "half": torch.arange(4).to(torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "one": torch.tensor(7),
    "none": torch.empty(0, 3),
}


def written(tensors: dict[str, torch.Tensor]) -> tuple[bytes, int]:
    stream = io.BytesIO()
    size, crc = write_tensors(stream, tensors)
    assert size == len(stream.getvalue())
    return stream.getvalue(), crc


@given(st.dictionaries(st.text(max_size=8), st.tuples(st.sampled_from(DTYPES), st.binary(max_size=64)), max_size=4))
def test_every_bit_comes_back(content: dict[str, tuple[torch.dtype, bytes]]) -> None:
    tensors = {}
    for name, (dtype, data) in content.items():
        whole = len(data) // dtype.itemsize * dtype.itemsize
        bits = torch.tensor(list(data[:whole]), dtype=torch.uint8)
        tensors[name] = (bits & 1).bool() if dtype == torch.bool else bits.view(dtype)
    data, crc = written(tensors)
    back = read_tensors(io.BytesIO(data), len(data), crc)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name].view(torch.uint8), tensor.view(torch.uint8))


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    data, _ = written(TENSORS)
    (tmp_path / "file").write_bytes(data)
    back = load_file(tmp_path / "file")
    assert back.keys() == TENSORS.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


def test_every_changed_byte_is_found() -> None:
    data, crc = written(TENSORS)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        with pytest.raises(PersistenceError):
            read_tensors(io.BytesIO(damaged), len(data), crc)


def test_every_shorter_or_longer_file_is_found() -> None:
    data, crc = written(TENSORS)
    for length in range(len(data)):
        with pytest.raises(PersistenceError):
            read_tensors(io.BytesIO(data[:length]), length, crc)
    with pytest.raises(PersistenceError):
        read_tensors(io.BytesIO(data + b"x"), len(data) + 1, crc)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}', "does not lie"),
        (b'{"x":{"dtype":"F32","shape":[0,2305843009213693952,2305843009213693952],"data_offsets":[0,0]}}', "damaged"),
        (b'{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', "damaged"),
        (b'{"x":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}', "damaged"),
        (b'{"x":[]}', "damaged"),
        (b"[" * 9999, "damaged"),
    ],
)
def test_a_header_that_claims_much_is_damaged(head: bytes, said: str) -> None:
    data = len(head).to_bytes(8, "little") + head
    with pytest.raises(PersistenceError, match=said):
        read_tensors(io.BytesIO(data), len(data), 0)
