"""Models of checkpoints: what a checkpoint carries so that a model can be made of it, and the making."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from sparkdl.errors import PersistenceError
from sparkdl.estimators.model import NetworkModel, write_history
from sparkdl.network import describe
from sparkdl.persistence import read_stage, trusted
from sparkdl.persistence.networks import JSON_FILE, PICKLE_FILE
from sparkdl.persistence.reading import reading
from sparkdl.persistence.stage import metadata_of, write_metadata
from sparkdl.persistence.weights import write_weights
from sparkdl.storage import access, urls
from sparkdl.train.checkpoint.folder import CheckpointFolder

M = TypeVar("M", bound=NetworkModel)

_JOB = re.compile(r"\w+-[0-9a-f]{24}")


def outline(model: NetworkModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what makes a model again with other weights: JSON, and tensors that are not of the network's state."""
    state = model._state
    description = describe(state.network, state.reference)
    own = state.network.state_dict().keys()
    with tempfile.TemporaryDirectory(prefix="sparkdl-outline-") as folder:
        metadata = metadata_of(model, Path(folder), model._about())
    body = {
        "metadata": metadata,
        "network": description.json,
        "skeleton": None if description.skeleton is None else description.skeleton.hex(),
        "tensors": list(description.tensors),
    }
    return body, {name: tensor for name, tensor in description.tensors.items() if name not in own}


def model_of(cls: type[M], url: str, options: Mapping[str, Any] | None, step: int | None, trust: bool) -> M:
    """Return the model of a checkpoint, as `NetworkModel.fromCheckpoint` says."""
    shown = access.shown(url)
    with reading(shown):
        folder = CheckpointFolder(_job_in(url, options), options)
        there = folder.steps()
        if not there or (step is not None and step not in there):
            found = ", ".join(map(str, there)) or "none"
            raise PersistenceError(f"there is no checkpoint{'' if step is None else f' of step {step}'}, only {found}")
        state, about = folder.read(there[-1] if step is None else step)
        with tempfile.TemporaryDirectory(prefix="sparkdl-checkpoint-") as place:
            _write_model(Path(place), state, about["model"])
            with trusted() if trust else nullcontext():
                return read_stage(cls, Path(place), shown)


def _job_in(url: str, options: Mapping[str, Any] | None) -> str:
    """Return the folder of the job that a URL means."""
    names = [name for name, _ in urls.list_folder(url, options)]
    jobs = [name for name in names if _JOB.fullmatch(name)]
    if any(name.startswith("step-") for name in names) or not jobs:
        return url
    if len(jobs) > 1:
        raise PersistenceError(
            f"it holds the checkpoints of {len(jobs)} jobs, give the folder of one: {', '.join(jobs)}"
        )
    return urls.join(url, jobs[0])


def _write_model(folder: Path, state: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Write a model in the layout of a saved one, with the weights that it would have."""
    best: Mapping[str, Tensor] = next(
        (each["best_weights"] for each in state["callbacks"] if each.get("best_weights")), {}
    )
    tensors = {**state["constants"], **state["module"], **best}
    write_weights({name: tensors[name] for name in model["tensors"]}, folder)
    (folder / JSON_FILE).write_text(json.dumps(model["network"]))
    if model["skeleton"] is not None:
        (folder / PICKLE_FILE).write_bytes(bytes.fromhex(model["skeleton"]))
    write_history(state["history"], folder)
    metadata = dict(model["metadata"])
    if state["best_epoch"] is not None:
        metadata["extra"] = {**metadata["extra"], "best_epoch": state["best_epoch"]}
    write_metadata(metadata, folder)
