"""How a network reaches the executors: one file, named by its content, that each executor fetches once and maps.

The file belongs to the running application: it holds pickled code of the driver's session, as Spark's own tasks do.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparkdl.comm.wire import size_of
from sparkdl.errors import NetworkError, SettingError
from sparkdl.network.skeleton import dump_skeleton, load_skeleton
from sparkdl.network.tensors import named_tensors, saved_form
from sparkdl.spark import files

_REMEDY = (
    "send its file by spark.sparkContext.addPyFile or --py-files (over Connect by spark.addArtifacts "
    "with pyfile=True), or install its package on all hosts"
)
_SKELETON = "skeleton:"
_MOST_PACKED = 60 << 20


def send(spark: Any, module: nn.Module) -> str:
    """Make a network available to the executors of a session; return the name of its file.

    Nothing is written or sent where this session has the same network already.

    Raises
    ------
    NetworkError
        If it cannot be pickled.
    """
    name, skeleton, content = _parts(module)
    if not files.was_sent(spark, name):
        content[_SKELETON] = _as_tensor(skeleton)
        with tempfile.TemporaryDirectory(prefix="sparkdl-ship-", dir=files.shipping_folder(spark)) as folder:
            torch.save(content, Path(folder) / name)
            files.send_file(spark, Path(folder) / name)
    return name


def pack(module: nn.Module) -> tuple[str, bytes]:
    """Return the name and the content of a network's file, for tasks that no file reaches.

    Raises
    ------
    NetworkError
        If it cannot be pickled.
    SettingError
        If it is too large to go with Spark's own task.
    """
    name, skeleton, content = _parts(module)
    size = len(skeleton) + sum(size_of(tensor) for tensor in content.values())
    if size > _MOST_PACKED:
        raise SettingError(
            f"the network has {size:,} bytes, and over Spark Connect a stream takes {_MOST_PACKED:,}: "
            "score the stream in a classic session"
        )
    buffer = io.BytesIO()
    torch.save({**content, _SKELETON: _as_tensor(skeleton)}, buffer)
    return name, buffer.getvalue()


def unpack(name: str, data: bytes) -> None:
    """Put what `pack` has returned where `fetch` looks for it, on an executor."""
    place = files.received_file(name)
    if not place.exists():
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(place)


def fetch(name: str, folders: Sequence[str] = ()) -> nn.Module:
    """Load the network of a file that was sent, on an executor; its weights stay mapped.

    Parameters
    ----------
    name : str
        Of the file.
    folders : sequence of str
        Where the driver finds modules of the user's: looked into last, and only while the network is loaded.

    Raises
    ------
    NetworkError
        If a module that the network comes from is not here, or another one of that name.
    """
    tensors = torch.load(files.received_file(name), map_location="cpu", weights_only=True, mmap=True)
    skeleton = bytes(tensors.pop(_SKELETON).numpy())
    more = [folder for folder in folders if folder not in sys.path]
    sys.path += more
    try:
        return load_skeleton(skeleton, tensors)
    except ModuleNotFoundError as error:
        raise NetworkError(
            f"the network needs the module {error.name!r}, and this executor does not find it: {_REMEDY}"
        ) from error
    except AttributeError as error:
        raise NetworkError(f"this executor has another version of the network's module ({error}): {_REMEDY}") from error
    finally:
        for folder in more:
            sys.path.remove(folder)


def _parts(module: nn.Module) -> tuple[str, bytes, dict[str, torch.Tensor]]:
    """The name of a network's file, and what is in it."""
    tensors = named_tensors(module)
    skeleton = dump_skeleton(module, tensors)
    content = {name: saved_form(tensor) for name, tensor in tensors.items()}
    return f"sparkdl-{_digest(skeleton, content)}.pt", skeleton, content


def _as_tensor(skeleton: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(skeleton), dtype=torch.uint8)


def _digest(skeleton: bytes, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(skeleton)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:32]


def _bytes(tensor: torch.Tensor) -> Any:
    if tensor.layout == torch.strided and not tensor.is_quantized:
        return tensor.reshape(-1).view(torch.uint8).numpy()
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getbuffer()
