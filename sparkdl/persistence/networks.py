"""A network in a folder: ``network.json``, its weights and, for classes that others may lack, ``network.pkl``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from torch import nn

from sparkdl.errors import NetworkError, PersistenceError
from sparkdl.network import Network, Reference, describe, restore
from sparkdl.persistence.reading import read_object, sentence
from sparkdl.persistence.trusted import is_trusted
from sparkdl.persistence.weights import read_weights, write_weights
from sparkdl.schema import DataSchema

JSON_FILE = "network.json"
PICKLE_FILE = "network.pkl"


def write_network(module: nn.Module, reference: Reference, folder: Path) -> None:
    """Write a network into a folder, which is made.

    Raises
    ------
    PersistenceError
        If it can neither be described by JSON nor be pickled.
    """
    try:
        description = describe(module, reference)
    except NetworkError as error:
        raise PersistenceError(f"the network cannot be saved: {error}") from error
    if description.pickle_only:
        warnings.warn(
            f"{description.pickle_only}: the network is saved as a pickle, which load(path, trusted=True) alone reads",
            stacklevel=2,
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(description.json, allow_nan=False))
    write_weights(description.tensors, folder)
    if description.skeleton is not None:
        (folder / PICKLE_FILE).write_bytes(description.skeleton)


def read_network(folder: Path, schema: DataSchema) -> Network:
    """Return the network of a folder; its pickle is opened only where the caller trusts it.

    Raises
    ------
    PersistenceError
        If a class is not known here (says which import to add), or a file is damaged.
    """
    body = read_object(folder / JSON_FILE)
    tensors = read_weights(folder)
    pickled = folder / PICKLE_FILE
    skeleton = pickled.read_bytes if is_trusted() and pickled.is_file() else None
    try:
        return restore(body, tensors, schema, skeleton, is_trusted())
    except NetworkError as error:
        raise PersistenceError(f"the network cannot be loaded: {error}") from error
    except Exception as error:
        raise PersistenceError(f"{JSON_FILE} is not a description of a network: {sentence(error)}") from error
