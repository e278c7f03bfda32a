"""How a network reaches the executors: one file, named by its content, that each executor fetches once and maps.

The file belongs to the running application: it holds pickled code of the driver's session, as Spark's own tasks do.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparkdl.network.skeleton import dump_skeleton, load_skeleton
from sparkdl.network.tensors import named_tensors, saved_form
from sparkdl.spark import files

_SKELETON = "skeleton:"
_CHUNK = 1 << 20


class Shipment:
    """Remembers what was sent of one network, so that it is written again only after it has changed."""

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._state: object = None

    def send(self, spark: Any, module: nn.Module) -> str:
        """Make a network available to the executors of a session; return the name of its file.

        Raises
        ------
        NetworkError
            If it cannot be pickled.
        """
        state = _state(module)
        if state != self._state:
            self._sent, self._state = {}, state
        session = files.application(spark)
        if session not in self._sent:
            self._sent[session] = _send(spark, module)
        return self._sent[session]


def fetch(name: str) -> nn.Module:
    """Load the network of a file that was sent, on an executor; its weights stay mapped."""
    tensors = torch.load(files.received_file(name), map_location="cpu", weights_only=True, mmap=True)
    skeleton = bytes(tensors.pop(_SKELETON).numpy())
    return load_skeleton(skeleton, tensors)


def _send(spark: Any, module: nn.Module) -> str:
    tensors = named_tensors(module)
    skeleton = dump_skeleton(module, tensors)
    content = {name: saved_form(tensor) for name, tensor in tensors.items()}
    content[_SKELETON] = torch.frombuffer(bytearray(skeleton), dtype=torch.uint8)
    with tempfile.TemporaryDirectory(prefix="sparkdl-ship-", dir=files.shipping_folder(spark)) as folder:
        path = Path(folder) / "network.pt"
        torch.save(content, path)
        named = path.with_name(f"sparkdl-{_hash(path)}.pt")
        path.rename(named)
        return files.send_file(spark, named)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:32]


def _state(module: nn.Module) -> tuple[tuple[str, int, int], ...]:
    """What changes when a tensor is replaced or written to in place."""
    return tuple((name, id(tensor), tensor._version) for name, tensor in named_tensors(module).items())
