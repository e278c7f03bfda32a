"""Files of ``torch.save`` that say more than they hold, or something else."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sparkdl.errors import PersistenceError
from sparkdl.persistence.torch_file import read_torch_file
from sparkdl.persistence.weights import read_tensors


def parts_of(tensors: Any) -> dict[str, bytes]:
    """Return the members of the file that ``torch.save`` makes of tensors."""
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(parts: dict[str, bytes], path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def with_pickle(change: Callable[[bytes], bytes], path: Path, tensors: Any = None) -> Path:
    parts = parts_of({"w": torch.arange(4.0)} if tensors is None else tensors)
    return written({**parts, "archive/data.pkl": change(parts["archive/data.pkl"])}, path)


def number(value: int) -> bytes:
    return pickle.LONG1 + bytes([8]) + value.to_bytes(8, "little", signed=True)


SIZE = pickle.BININT1 + b"\x04" + pickle.TUPLE1
STRIDE = pickle.BININT1 + b"\x01" + pickle.TUPLE1


@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_tensor(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    kinds = (torch.bool, torch.uint8, torch.int64, torch.uint16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64)
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in kinds}
    tensors |= {"base": base, "again": base, "view": base.view(2, 3), "part": base[1:3], "columns": base.view(2, 3).t()}
    tensors |= {
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "channels": torch.ones(1, 2, 3, 3).to(memory_format=torch.channels_last),
    }
    tensors |= {"coo": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr()}
    tensors |= {"quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}
    torch.save(tensors, tmp_path / "w")
    back = read_torch_file(tmp_path / "w")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape, back[name].layout) == (tensor.dtype, tensor.shape, tensor.layout)
        if tensor.layout == torch.strided:
            assert back[name].stride() == tensor.stride()
        same = [t.dequantize() if t.is_quantized else t.to_dense().to(torch.complex64) for t in (back[name], tensor)]
        assert torch.equal(*same)
    assert back["base"].data_ptr() == back["view"].data_ptr() == back["again"].data_ptr()
    # What was read is the reader's own.
    back["base"].add_(1)
    assert back["part"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(SIZE, number(10**12) + pickle.TUPLE1, 1), id="size"),
        pytest.param(
            lambda data: data.replace(SIZE, number(10**12) + pickle.TUPLE1, 1).replace(
                STRIDE, pickle.BININT1 + b"\x00" + pickle.TUPLE1, 1
            ),
            id="one number repeated",
        ),
        pytest.param(lambda data: data.replace(STRIDE, number(2) + pickle.TUPLE1, 1), id="stride"),
        pytest.param(lambda data: data.replace(STRIDE, number(-1) + pickle.TUPLE1, 1), id="backwards"),
        pytest.param(lambda data: data.replace(SIZE, number(-4) + pickle.TUPLE1, 1), id="negative"),
        pytest.param(lambda data: data.replace(SIZE, pickle.NEWTRUE + pickle.TUPLE1, 1), id="no number"),
        pytest.param(lambda data: data.replace(b"FloatStorage", b"DoubleStorage"), id="dtype"),
        pytest.param(lambda data: data.replace(b"FloatStorage", b"UntypedStorage"), id="storage"),
        pytest.param(lambda data: data.replace(b"FloatStorage", b"load"), id="function of torch"),
        pytest.param(lambda data: data.replace(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem"), id="system"),
        pytest.param(lambda data: data.replace(b"_rebuild_tensor_v2", b"_rebuild_wrapper_subclass"), id="rebuild"),
        pytest.param(lambda data: data.replace(b"collections\nOrderedDict", b"builtins\nbytearray"), id="bytearray"),
        pytest.param(lambda data: data[:-1] + pickle.BINPUT[:0] + pickle.LIST + pickle.STOP, id="opcode"),
        pytest.param(lambda data: data[:-1], id="without end"),
        pytest.param(lambda data: data[:20], id="cut"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: pickle.PROTO + b"\x02" + pickle.EMPTY_TUPLE + pickle.STOP, id="no dict"),
        pytest.param(lambda data: pickle.BYTEARRAY8 + struct.pack("<Q", 10**12) + pickle.STOP, id="array of a length"),
        pytest.param(
            lambda data: data[:-1] + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1) + pickle.BINGET + b"\xff.",
            id="memo",
        ),
    ],
)
def test_pickles_that_say_something_else(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = with_pickle(change, tmp_path / "weights.pt")
    with pytest.raises(PersistenceError, match="weights.pt cannot be read as tensors and nothing else"):
        read_tensors(path)


def test_what_stands_in_the_pickle_is_what_the_changes_above_change(tmp_path: Path) -> None:
    data = parts_of({"w": torch.arange(4.0)})["archive/data.pkl"]
    assert all(data.count(part) == 1 for part in (SIZE, STRIDE, b"FloatStorage", b"torch._utils\n_rebuild_tensor_v2"))
    assert read_tensors(with_pickle(lambda data: data, tmp_path / "w"))["w"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_members_that_are_longer_than_the_file(tmp_path: Path) -> None:
    zeros = parts_of({"w": torch.zeros(10**6)})
    path = written(zeros, tmp_path / "w", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(PersistenceError, match="it has compressed members"):
        read_tensors(path)
    # The same member under many names: each entry of the directory leads to the same bytes.
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        for name, data in zeros.items():
            archive.writestr(name, data)
        large = archive.getinfo("archive/data/0")
        for _ in range(20):
            archive.filelist.append(large)
    with pytest.raises(PersistenceError, match="longer than itself"):
        read_tensors(tmp_path / "w")


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: {**parts, "archive/data/0": b"\x00" * 8},
        lambda parts: {**parts, "archive/data/0": b"\x00" * 64},
        lambda parts: {name: data for name, data in parts.items() if name != "archive/data/0"},
        lambda parts: {name: data for name, data in parts.items() if name != "archive/data.pkl"},
        lambda parts: {**parts, "other/data.pkl": parts["archive/data.pkl"]},
        lambda parts: {**parts, "archive/byteorder": b"big" if sys.byteorder == "little" else b"little"},
    ],
)
def test_archives_that_lack_something(change: Any, tmp_path: Path) -> None:
    path = written(change(parts_of({"w": torch.arange(4.0)})), tmp_path / "w")
    with pytest.raises(PersistenceError, match="cannot be read as tensors and nothing else"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[torch.ones(1)], {1: torch.ones(1)}, {"w": 3}, {"w": {"deep": torch.ones(1)}}])
def test_what_is_no_dict_of_tensors(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w")
    with pytest.raises(PersistenceError):
        read_tensors(tmp_path / "w")


def test_sparse_tensors_whose_parts_do_not_fit(tmp_path: Path) -> None:
    indices, values = torch.tensor([[0, 1], [0, 5]]), torch.ones(2)
    coo = torch.sparse_coo_tensor(indices, values, (2, 6), check_invariants=True)
    size, smaller = (pickle.BININT1 + bytes([columns]) + pickle.TUPLE2 for columns in (6, 3))
    read_tensors(with_pickle(lambda data: data, tmp_path / "w", {"w": coo}))
    with pytest.raises(PersistenceError, match="w cannot be read as tensors"):
        read_tensors(with_pickle(lambda data: data.replace(size, smaller), tmp_path / "w", {"w": coo}))


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "nothing"):
        with pytest.raises(PersistenceError, match="it is no file"):
            read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    "pickled",
    [
        pickle.PROTO + b"\x02" + pickle.EMPTY_DICT * (1 << 20) + pickle.STOP,
        pickle.PROTO + b"\x02" + pickle.MARK * (1 << 20) + pickle.STOP,
        pickle.PROTO + b"\x02" + pickle.EMPTY_TUPLE + pickle.TUPLE1 * (1 << 20) + pickle.STOP,
    ],
    ids=["dicts", "marks", "tuples"],
)
def test_more_objects_than_tensors_need_are_refused(pickled: bytes, tmp_path: Path) -> None:
    path = with_pickle(lambda _: pickled, tmp_path / "weights.pt")
    with pytest.raises(PersistenceError, match="makes more objects than tensors need"):
        read_torch_file(path)


def test_many_small_tensors_are_read(tmp_path: Path) -> None:
    tensors = {str(number): torch.zeros(()) for number in range(5_000)}
    torch.save(tensors, tmp_path / "weights.pt")
    assert read_torch_file(tmp_path / "weights.pt").keys() == tensors.keys()
