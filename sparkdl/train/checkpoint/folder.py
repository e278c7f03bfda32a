"""The folder of a job's checkpoints: each is a folder of its own, whole when its JSON file is there, written last."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparkdl.errors import PersistenceError
from sparkdl.storage import urls
from sparkdl.train.checkpoint.tensor_file import read_tensors, write_tensors
from sparkdl.train.checkpoint.tree import flatten, unflatten

FORMAT_VERSION = 1

_INDEX, _TENSORS = "checkpoint.json", "state.safetensors"
_MOST_INDEX = 64 << 20
_NAME = re.compile(r"step-(\d{12})")

State = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """State in memory of its own, on the CPU, which the training no longer touches.

    Attributes
    ----------
    step : int
        Optimizer steps since the training began.
    skeleton : object
        JSON with names in place of tensors.
    tensors : dict of str to Tensor
    about : mapping
        JSON values that are known without reading the tensors.
    """

    step: int
    skeleton: Any
    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]


def snapshot(step: int, state: State, about: Mapping[str, Any]) -> Snapshot:
    """Copy state into host memory.

    Raises
    ------
    PersistenceError
        It holds something that a checkpoint cannot.
    """
    skeleton, tensors = flatten(state, "state")
    copies: dict[int, Tensor] = {}
    for tensor in tensors.values():
        # Early stopping and averages may hold what others hold too.
        if id(tensor) not in copies:
            copies[id(tensor)] = tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
    return Snapshot(step, skeleton, {name: copies[id(tensor)] for name, tensor in tensors.items()}, dict(about))


class CheckpointFolder:
    """The checkpoints of one job.

    Parameters
    ----------
    url : str
        Of the job's own folder.
    options : mapping, optional
        For fsspec.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self._options = dict(options or {})

    def write(self, taken: Snapshot) -> None:
        """Write a checkpoint; one of the same step is replaced."""
        folder = self._folder(taken.step)
        urls.make_folder(folder, self._options, private=True)
        urls.remove(urls.join(folder, _INDEX), self._options)
        with urls.write_atomic(urls.join(folder, _TENSORS), self._options) as stream:
            size, crc = write_tensors(stream, taken.tensors)
        content = {"bytes": size, "crc32": crc, "state": taken.skeleton, "about": dict(taken.about)}
        index = {"formatVersion": FORMAT_VERSION, "crc32": _checksum(content), "content": content}
        with urls.write_atomic(urls.join(folder, _INDEX), self._options) as stream:
            stream.write(json.dumps(index).encode())

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints that look whole, the oldest first."""
        return [step for step in self._all_steps() if urls.exists(self._index(step), self._options)]

    def about(self, step: int) -> dict[str, Any]:
        """Return what was written about a checkpoint; PersistenceError if it is damaged."""
        about: dict[str, Any] = self._read_index(step)["about"]
        return about

    def read(self, step: int) -> tuple[State, dict[str, Any]]:
        """Return the state of a checkpoint, and what was written about it.

        Raises
        ------
        PersistenceError
            It is damaged, or of another format version.
        """
        index = self._read_index(step)
        url = urls.join(self._folder(step), _TENSORS)
        try:
            if urls.size(url, self._options) != index["bytes"]:
                raise PersistenceError(f"{_TENSORS} has not the {index['bytes']:,} bytes that were written")
            with urls.open_read(url, self._options) as stream:
                tensors = read_tensors(stream, index["bytes"], index["crc32"])
        except FileNotFoundError:
            raise PersistenceError(f"{_TENSORS} is not there") from None
        state: State = unflatten(index["state"], tensors)
        return state, index["about"]

    def remove(self, step: int) -> None:
        """Remove a checkpoint, its index first, so that no half of it is taken for whole."""
        urls.remove(self._index(step), self._options)
        urls.remove(self._folder(step), self._options)

    def remove_incomplete(self) -> list[int]:
        """Remove what a writer that has died left behind; return the steps of the checkpoints that stay."""
        whole = []
        for step in self._all_steps():
            if urls.exists(self._index(step), self._options):
                whole.append(step)
                continue
            with suppress(OSError):
                urls.remove(self._folder(step), self._options)
        return whole

    def _all_steps(self) -> list[int]:
        found = [_NAME.fullmatch(name) for name, _ in urls.list_folder(self.url, self._options)]
        return sorted(int(match[1]) for match in found if match)

    def _folder(self, step: int) -> str:
        return urls.join(self.url, f"step-{step:012}")

    def _index(self, step: int) -> str:
        return urls.join(self._folder(step), _INDEX)

    def _read_index(self, step: int) -> dict[str, Any]:
        try:
            with urls.open_read(self._index(step), self._options) as stream:
                data = stream.read(_MOST_INDEX + 1)
            index = json.loads(data) if len(data) <= _MOST_INDEX else None
        except FileNotFoundError:
            raise PersistenceError(f"{_INDEX} is not there") from None
        except (ValueError, RecursionError) as error:
            raise PersistenceError(f"{_INDEX} is not JSON: {error}") from error
        if not isinstance(index, dict) or index.get("formatVersion") != FORMAT_VERSION:
            version = index.get("formatVersion") if isinstance(index, dict) else None
            raise PersistenceError(f"{_INDEX} has format version {version!r}, this sparkdl reads {FORMAT_VERSION}")
        content = index.get("content")
        if not isinstance(content, dict) or index.get("crc32") != _checksum(content):
            raise PersistenceError(f"{_INDEX} is damaged, its checksum is another one")
        return content


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
