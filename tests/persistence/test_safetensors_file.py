"""Weights in the safetensors format: what is written comes back, and files that lie are refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sparkdl.errors import PersistenceError
from sparkdl.persistence.weights import read_weights, write_weights

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
)  # fmt: skip
FILE = "weights.safetensors"
Tensors = dict[str, torch.Tensor]


def data(tensor: torch.Tensor) -> bytes:
    """Return the numbers as bytes: NaN equals itself, and every dtype can be compared."""
    plain = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1))
    return bytes(plain.view(torch.uint8).tolist())


def reach(tensor: torch.Tensor) -> set[int]:
    """Return the addresses of the bytes of a tensor."""
    addresses = torch.as_strided(torch.arange(600), tensor.shape, tensor.stride(), 0).reshape(-1).tolist()
    return {tensor.data_ptr() + tensor.itemsize * a + byte for a in addresses for byte in range(tensor.itemsize)}


def again(tensors: Tensors, folder: Path) -> Tensors:
    write_weights(tensors, folder)
    return read_weights(folder)


@st.composite
def state_dicts(draw: st.DrawFn) -> Tensors:
    memories = [torch.randint(0, 2, (draw(st.integers(0, 64)) * 8,), dtype=torch.uint8) for _ in range(3)]
    tensors: Tensors = {}
    for name in draw(st.lists(st.text(max_size=5), max_size=6, unique=True)):
        dtype = draw(st.sampled_from(DTYPES))
        typed = draw(st.sampled_from(memories)).view(dtype)
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        count = torch.Size(shape).numel()
        if count > len(typed):
            shape, count = [0, 2], 0
        offset = draw(st.integers(0, len(typed) - count))
        tensor = typed[offset : offset + count].view(shape)
        form = draw(st.sampled_from(["plain", "transposed", "strided", "expanded", "parameter"]))
        if form == "transposed" and tensor.dim() > 1:
            tensor = tensor.transpose(0, -1)
        elif form == "strided" and tensor.dim():
            tensor = tensor[::2]
        elif form == "expanded":
            tensor = tensor.expand(2, *tensor.shape)
        elif form == "parameter":
            tensor = torch.nn.Parameter(tensor, requires_grad=False)
        tensors[name] = tensor
    return tensors


@settings(max_examples=150, deadline=None)
@given(state_dicts())
def test_what_is_written_is_read(tensors: Tensors) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = again(tensors, Path(folder))
        assert not (Path(folder) / "weights.pt").exists()
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape, data(back[name])) == (tensor.dtype, tensor.shape, data(tensor))
    # What repeats its numbers cannot be written to, and is written out.
    able = [name for name, tensor in tensors.items() if len(reach(tensor)) == tensor.numel() * tensor.itemsize]
    for one, other in combinations(able, 2):
        shared = len(reach(tensors[one]) & reach(tensors[other]))
        assert len(reach(back[one]) & reach(back[other])) == shared


def test_views_keep_their_places_and_strides(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {
        "part": base[2:6], "base": base, "again": base, "columns": base.view(3, 4).t(), "bits": base.view(torch.int32),
        "channels": torch.rand(1, 2, 3, 3).to(memory_format=torch.channels_last), "scalar": torch.tensor(3),
        "empty": base[3:3], "overlap": torch.arange(9)[1:6], "apart": torch.arange(8).view(2, 4)[:, 1],
    }  # fmt: skip
    tensors["overlaps"] = tensors["overlap"].as_strided((4,), (1,), 3)
    back = again(tensors, tmp_path)
    for name in tensors.keys() - {"apart"}:
        assert back[name].stride() == tensors[name].stride(), name
    back["base"][3] = -1
    assert back["part"].tolist() == [2.0, -1.0, 4.0, 5.0]
    assert back["columns"][3, 0] == back["again"][3] == -1
    back["overlap"][2] = -1
    assert back["overlaps"].tolist() == [-1, 4, 5, 6]
    # Others find under its name what owns its memory.
    assert load_file(tmp_path / FILE)["base"].tolist() == base.tolist()


@pytest.mark.filterwarnings("ignore")
def test_what_the_format_cannot_hold_is_beside_it(tmp_path: Path) -> None:
    both = torch.ones(3, dtype=torch.complex128)
    tensors = {
        "plain": torch.ones(2), "sparse": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "complex": both, "again": both,
    }  # fmt: skip
    back = again(tensors, tmp_path)
    assert list(load_file(tmp_path / FILE)) == ["plain"]
    assert back.keys() == tensors.keys()
    assert torch.equal(back["sparse"].to_dense(), torch.eye(3))
    assert torch.equal(back["quantized"].dequantize(), tensors["quantized"].dequantize())
    back["again"][0] = 7
    assert back["complex"][0] == 7
    with pytest.raises(PersistenceError, match="'complex' and 'real' are tensors of different types"):
        write_weights({"complex": both, "real": torch.view_as_real(both)}, tmp_path)
    torch.save({"plain": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(PersistenceError, match="were not written together"):
        read_weights(tmp_path)
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(
        PersistenceError, match=r"weights.pt cannot be read as tensors and nothing else \(it is no file"
    ):
        read_weights(tmp_path)


def test_what_was_read_does_not_change_with_the_file(tmp_path: Path) -> None:
    back = again({"w": torch.zeros(1000), "v": torch.zeros(3)}, tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff" * (tmp_path / FILE).stat().st_size)
    assert not back["w"].any()
    assert back["w"].untyped_storage().nbytes() == 4000


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    save_file({"w": torch.arange(3)}, tmp_path / FILE)
    assert read_weights(tmp_path)["w"].tolist() == [0, 1, 2]


def with_header(change: Callable[[dict[str, Any]], Any], path: Path) -> None:
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    about = json.loads(header["__metadata__"]["sparkdl"])
    header["__metadata__"]["sparkdl"] = about
    change(header)
    if isinstance(header.get("__metadata__"), dict) and header["__metadata__"].get("sparkdl") is about:
        header["__metadata__"]["sparkdl"] = json.dumps(about)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


def views(*view: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"]["sparkdl"]["views"].update(v=list(view))


def about(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"]["sparkdl"].update(values)


def tensor(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["w"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(tensor(data_offsets=[0, 10**12]), id="offset out of range"),
        pytest.param(tensor(data_offsets=[16, 0]), id="backwards"),
        pytest.param(tensor(data_offsets=[-16, 0]), id="negative"),
        pytest.param(lambda header: header.update(x=header["w"]), id="overlapping"),
        pytest.param(tensor(dtype="F128"), id="unknown dtype"),
        pytest.param(tensor(dtype="F4", shape=[32]), id="dtype that we do not write"),
        pytest.param(tensor(dtype="C64", shape=[2]), id="complex"),
        pytest.param(tensor(shape=[5]), id="shape"),
        pytest.param(tensor(shape=[2**32, 2**32, 4]), id="product beyond 64 bits"),
        pytest.param(tensor(shape=[4] + [1] * 100), id="dimensions"),
        pytest.param(tensor(shape="four"), id="no shape"),
        pytest.param(lambda header: header.pop("w"), id="without the tensor"),
        pytest.param(views("x", 0, "float32", [4], [1]), id="view of nothing"),
        pytest.param(views("v", 0, "float32", [4], [1]), id="view of itself"),
        pytest.param(views("w", 0, "float32", [10**9], [0]), id="view that repeats"),
        pytest.param(views("w", 4, "float32", [4], [1]), id="view that reaches out"),
        pytest.param(views("w", -4, "float32", [4], [1]), id="view from before"),
        pytest.param(views("w", 2, "float32", [1], [1]), id="view between numbers"),
        pytest.param(views("w", 0, "load", [1], [1]), id="view of no dtype"),
        pytest.param(views("w", 0, "float32", [1]), id="view without stride"),
        pytest.param(about(views={"w": ["w", 0, "float32", [4], [1]]}), id="name of a tensor"),
        pytest.param(about(views=[1]), id="list of views"),
        pytest.param(about(strides={"w": [10**9]}), id="stride"),
        pytest.param(about(strides={"x": [1]}), id="stride of nothing"),
        pytest.param(about(storages=["x"]), id="storage that is not there"),
        pytest.param(lambda header: header["__metadata__"].update(sparkdl="[" * 10**5), id="deep JSON"),
        pytest.param(lambda header: header["__metadata__"].update(sparkdl="3"), id="no object"),
        pytest.param(lambda header: header.update(__metadata__=3), id="no metadata"),
    ],
)
def test_headers_that_lie(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    write_weights({"w": torch.arange(4.0)}, tmp_path)
    with_header(lambda header: None, tmp_path / FILE)
    assert read_weights(tmp_path)["w"].tolist() == [0.0, 1.0, 2.0, 3.0]
    with_header(change, tmp_path / FILE)
    with pytest.raises(PersistenceError, match="weights.safetensors cannot be read as tensors and nothing else"):
        read_weights(tmp_path)


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, (64 << 20) + 1, 10**4])
def test_a_header_that_claims_more_than_is_there(length: int, tmp_path: Path) -> None:
    write_weights({"w": torch.arange(4.0)}, tmp_path)
    path = tmp_path / FILE
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(PersistenceError, match=f"its header claims {length:,} bytes"):
        read_weights(tmp_path)


def test_cut_files(tmp_path: Path) -> None:
    base = torch.arange(4.0)
    write_weights({"w": base, "v": base[:2], "t": torch.rand(2, 3).t()}, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    for length in range(len(whole)):
        (tmp_path / FILE).write_bytes(whole[:length])
        with pytest.raises(PersistenceError, match="weights.safetensors"):
            read_weights(tmp_path)
    (tmp_path / FILE).write_bytes(whole + b"more")
    with pytest.raises(PersistenceError, match="weights.safetensors"):
        read_weights(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(PersistenceError, match=r"weights.safetensors .* \(it is no file"):
        read_weights(tmp_path)
