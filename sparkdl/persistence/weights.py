"""The weights of a network in its folder: ``weights.safetensors``, and ``weights.pt`` for what that cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from sparkdl.errors import PersistenceError
from sparkdl.persistence.reading import sentence
from sparkdl.persistence.safetensors_file import read_safetensors, write_safetensors
from sparkdl.persistence.torch_file import read_torch_file

WEIGHTS_FILE = "weights.safetensors"
TORCH_FILE = "weights.pt"

T = TypeVar("T")


def write_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write tensors by name; tensors that share memory do so after reading.

    Sparse, quantized and complex tensors are written to a file of torch's own format beside the other one.
    """
    rest = write_safetensors(tensors, folder / WEIGHTS_FILE)
    if rest:
        torch.save(rest, folder / TORCH_FILE)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors that were written into a folder, on the CPU.

    Up to format version 1 all of them were in the file of torch's format.

    Raises
    ------
    PersistenceError
        If a file is missing, holds anything but tensors by name, or takes more memory than it is long.
    """
    if not (folder / WEIGHTS_FILE).exists() and (folder / TORCH_FILE).exists():
        return read_tensors(folder / TORCH_FILE)
    tensors, complete = _read(folder / WEIGHTS_FILE, read_safetensors)
    if complete:
        return tensors
    rest = read_tensors(folder / TORCH_FILE)
    if rest.keys() & tensors.keys():
        raise PersistenceError(
            f"{TORCH_FILE} holds tensors that {WEIGHTS_FILE} holds too: they were not written together"
        )
    return {**tensors, **rest}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of torch's format, on the CPU.

    Raises
    ------
    PersistenceError
        If it holds anything but tensors by name, or takes more memory than it is long.
    """
    content = _read(path, read_torch_file)
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()):
        raise PersistenceError(f"{path.name} does not hold tensors by name: it was not written by sparkdl")
    return content


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    try:
        if not path.is_file():
            raise PersistenceError("it is no file")
        return reader(path)
    except Exception as error:
        raise PersistenceError(
            f"{path.name} cannot be read as tensors and nothing else ({sentence(error)}): "
            "the file is damaged or was not written by sparkdl"
        ) from error
