"""How a network reaches the executors: one file, named by its content, that each executor fetches once and maps.

The file belongs to the running application: it holds pickled code of the driver's session, as Spark's own tasks do.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparkdl.network.skeleton import dump_skeleton, load_skeleton
from sparkdl.network.tensors import named_tensors, saved_form
from sparkdl.spark import files

_SKELETON = "skeleton:"


def send(spark: Any, module: nn.Module) -> str:
    """Make a network available to the executors of a session; return the name of its file.

    Nothing is written or sent where this session has the same network already.

    Raises
    ------
    NetworkError
        If it cannot be pickled.
    """
    tensors = named_tensors(module)
    skeleton = dump_skeleton(module, tensors)
    content = {name: saved_form(tensor) for name, tensor in tensors.items()}
    name = f"sparkdl-{_digest(skeleton, content)}.pt"
    if not files.was_sent(spark, name):
        content[_SKELETON] = torch.frombuffer(bytearray(skeleton), dtype=torch.uint8)
        with tempfile.TemporaryDirectory(prefix="sparkdl-ship-", dir=files.shipping_folder(spark)) as folder:
            torch.save(content, Path(folder) / name)
            files.send_file(spark, Path(folder) / name)
    return name


def fetch(name: str) -> nn.Module:
    """Load the network of a file that was sent, on an executor; its weights stay mapped."""
    tensors = torch.load(files.received_file(name), map_location="cpu", weights_only=True, mmap=True)
    skeleton = bytes(tensors.pop(_SKELETON).numpy())
    return load_skeleton(skeleton, tensors)


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
