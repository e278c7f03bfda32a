"""Files of weights with damaged bytes: tensors that take no more memory than the file has, or a PersistenceError."""

from __future__ import annotations

import encodings
import io
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sparkdl.errors import PersistenceError
from sparkdl.persistence.safetensors_file import read_safetensors, write_safetensors
from sparkdl.persistence.torch_file import read_torch_file
from sparkdl.persistence.weights import _read, read_tensors

BASE = torch.arange(24.0)
STRIDED = {
    "ones": torch.ones(2, 3),
    "part": BASE[2:8],
    "turned": BASE.view(4, 6).t(),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "scalar": torch.tensor(3),
    "channels": torch.ones(1, 2, 3, 3).to(memory_format=torch.channels_last),
}
OTHERS = {"complex": torch.ones(2, dtype=torch.complex64), "sparse": torch.eye(3).to_sparse()}
SPECIAL = (0, 1, 0x7F, 0x80, 0xFF)

fuzz = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("weights") / "file"
    write_safetensors(STRIDED, path)
    found = {"safetensors": path.read_bytes()}
    torch.save({**STRIDED, **OTHERS}, path)
    return {**found, "pt": path.read_bytes()}


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """Where, as a share of the file, how many bytes go, and which come in their place; a few times."""
    new = st.binary(max_size=12) | st.sampled_from(SPECIAL).map(lambda byte: bytes([byte]) * 8)
    one = st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 2, 4, 8, 40]), new)
    return draw(st.lists(one, min_size=1, max_size=3))


def damaged(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    made = bytearray(data)
    for share, count, new in changes:
        start = int(share * len(made))
        made[start : start + count] = new
    return bytes(made)


_ACTIVE: list[str] = []
_SEEN: list[str] = []
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "subprocess.", "socket.")


def _hook(event: str, arguments: Any) -> None:
    if not _ACTIVE:
        return
    # An encoding that a name in an archive or a text asks for is imported from the standard library.
    foreign = event in ("exec", "compile") and not _STANDARD.intersection(repr(arguments).split('"'))
    if event.startswith(_NEVER) or foreign:
        _SEEN.append(f"{event} {arguments!r:.200}")


_STANDARD = {str(path) for path in Path(encodings.__file__).parent.glob("*.py")}


@contextmanager
def watched() -> Iterator[None]:
    """Nothing is run, imported, opened or started by what a file says."""
    if _hook not in _HOOKED:
        _HOOKED.append(_hook)
        sys.addaudithook(_hook)
    _ACTIVE.append("")
    _SEEN.clear()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _ACTIVE.clear()
    assert _SEEN == []


_HOOKED: list[Any] = []


def bytes_of(tensors: dict[str, torch.Tensor]) -> int:
    """Memory of tensors that are strided, each piece of it counted once."""
    storages = {}
    for tensor in tensors.values():
        if tensor.layout == torch.strided and not tensor.is_quantized:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            # Each number is there.
            tensor.clone()
    return sum(storages.values())


def outcome(data: bytes, path: Path, kind: str) -> str:
    path.write_bytes(data)
    with watched():
        try:
            tensors = read_tensors(path) if kind == "pt" else _read(path, read_safetensors)[0]
        except PersistenceError as error:
            return str(error)
    assert bytes_of(tensors) <= len(data)
    return ""


@fuzz
@given(changes=damages())
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_damaged_bytes(kind: str, files: dict[str, bytes], changes: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    said = outcome(damaged(files[kind], changes), path, kind)
    assert len(said) < 3000


@fuzz
@given(changes=damages())
def test_a_damaged_header_of_the_right_length(files: dict[str, bytes], changes: Any, tmp_path_factory: Any) -> None:
    data = files["safetensors"]
    length = int.from_bytes(data[:8], "little")
    header = damaged(data[8 : 8 + length], changes)
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    outcome(len(header).to_bytes(8, "little") + header + data[8 + length :], path, "safetensors")


@fuzz
@given(changes=damages())
def test_a_damaged_pickle_in_a_whole_archive(files: dict[str, bytes], changes: Any, tmp_path_factory: Any) -> None:
    # The archive's checksums would keep most damages from the pickle's reader.
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files["pt"])) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, damaged(content, changes) if name.endswith("data.pkl") else content)
    outcome(buffer.getvalue(), tmp_path_factory.getbasetemp() / "pickle.pt", "pt")


def test_what_is_not_damaged_is_read(files: dict[str, bytes], tmp_path: Path) -> None:
    for kind, data in files.items():
        assert outcome(data, tmp_path / kind, kind) == ""
    assert read_torch_file(tmp_path / "pt").keys() == {**STRIDED, **OTHERS}.keys()
