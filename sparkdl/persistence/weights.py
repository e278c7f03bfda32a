"""Tensors in a file: torch's own zip format, read by the unpickler that makes tensors and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from sparkdl.errors import PersistenceError


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name; tensors that share memory do so in the file."""
    torch.save(dict(tensors), path)


def read_tensors(path: Path, mmap: bool = False) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, on the CPU.

    Parameters
    ----------
    path : Path
        Of a file that `write_tensors` has written, or that claims to be one.
    mmap : bool
        Whether to map the file into memory instead of reading it; it must then not be changed.

    Raises
    ------
    PersistenceError
        If it holds anything but tensors by name.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        first = str(error).strip().splitlines()[:1]
        raise PersistenceError(
            f"{path.name} cannot be read as tensors and nothing else ({type(error).__name__}: {''.join(first)}): "
            "the file is damaged or was not written by sparkdl"
        ) from error
    is_named = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()
    )
    if not is_named:
        raise PersistenceError(f"{path.name} does not hold tensors by name: it was not written by sparkdl")
    return dict(content)
