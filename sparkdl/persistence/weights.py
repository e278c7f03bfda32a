"""Tensors in a file: torch's own zip format, read by what makes tensors and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from sparkdl.errors import PersistenceError
from sparkdl.persistence.reading import sentence
from sparkdl.persistence.torch_file import read_torch_file


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name; tensors that share memory do so in the file."""
    torch.save(dict(tensors), path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, on the CPU.

    Parameters
    ----------
    path : Path
        Of a file that `write_tensors` has written, or that claims to be one.

    Raises
    ------
    PersistenceError
        If it holds anything but tensors by name, or takes more memory than it is long.
    """
    try:
        if not path.is_file():
            raise PersistenceError("it is no file")
        content = read_torch_file(path)
    except Exception as error:
        raise PersistenceError(
            f"{path.name} cannot be read as tensors and nothing else ({sentence(error)}): "
            "the file is damaged or was not written by sparkdl"
        ) from error
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()):
        raise PersistenceError(f"{path.name} does not hold tensors by name: it was not written by sparkdl")
    return content
