"""Scoring for Scala: what a Python worker runs by the plan that the JVM has made, as JSON."""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from sparkdl.bridge.names import names_of_files
from sparkdl.errors import SparkDLError
from sparkdl.network.check import layer_shapes
from sparkdl.persistence import read_network
from sparkdl.schema import DataSchema
from sparkdl.scoring.executor import score_batches
from sparkdl.scoring.outputs import ClassificationHead, GenericHead, Head, OutputColumn, RegressionHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.spark.files import received_file
from sparkdl.spark.functions import over_arrow

_PARTS = frozenset({"network.json", "network.pkl", "weights.safetensors", "weights.pt"})


def scorer(text: bytes) -> Callable[[Iterator[Any]], Iterator[pa.Array]]:
    """Return the function over Arrow batches that scores by a plan.

    Parameters
    ----------
    text : bytes
        JSON of what `ScoringPlan` holds, of the fields as the network was trained ("trained"), of the name of the
        archive with the network's files ("file") and of modules to import before they are read ("imports").
    """
    value = json.loads(text)
    load = partial(_network, value["file"], value["trained"], tuple(value["imports"]))

    def score(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        return score_batches(plan_of(value), value["file"], value["local"], batches, load)

    return over_arrow(score)


def describer(text: bytes) -> Callable[[Iterator[Any]], Iterator[pa.Array]]:
    """Return the function that tells, for each row, the shapes of inner layers' outputs as JSON, or what is wrong.

    Parameters
    ----------
    text : bytes
        JSON with "file", "trained" and "imports" as in `scorer`, and "layers", their names.
    """
    value = json.loads(text)

    def describe(batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
        try:
            module = _network(value["file"], value["trained"], tuple(value["imports"]))
            shapes = layer_shapes(module, DataSchema.from_json(value["trained"]), value["layers"])
            answer = json.dumps({"shapes": shapes})
        except SparkDLError as error:
            answer = json.dumps({"error": str(error)})
        for arrays in batches:
            yield pa.array([answer] * len(arrays[0]))

    return over_arrow(describe)


def plan_of(value: Mapping[str, Any]) -> ScoringPlan:
    """Return the plan that the JVM has made."""
    return ScoringPlan(
        DataSchema.from_json(value["inputs"]).fields,
        _head(value["head"]),
        tuple(OutputColumn(each["name"], each["type"], tuple(each["shape"])) for each in value["layer_columns"]),
        ScorerSettings(value["batch_size"], value["device"], value["precision"], tuple(value["layers"])),
        value["handle_invalid"],
        value.get("fill_value"),
        value.get("pad_value"),
    )


def _head(value: Mapping[str, Any]) -> Head:
    if value["task"] == "regression":
        return RegressionHead(value["prediction"])
    if value["task"] == "classification":
        thresholds = value.get("thresholds")
        return ClassificationHead(
            value["raw_prediction"],
            value["probability"],
            value["prediction"],
            value["classes"],
            None if thresholds is None else tuple(thresholds),
        )
    return GenericHead(tuple(value["names"]), tuple(tuple(shape) for shape in value["shapes"]))


def _network(name: str, trained: list[dict[str, Any]], imports: Sequence[str]) -> nn.Module:
    # Names that the user's program or its settings give, never those of a file.
    for module in imports:
        importlib.import_module(module)
    with names_of_files():
        return read_network(_unpacked(received_file(name)), DataSchema.from_json(trained)).module.eval()


def _unpacked(archive: Path) -> Path:
    """Return the folder with an archive's files, unpacked once on each executor: weights stay mapped from there."""
    folder = archive.with_suffix(".files")
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
        with zipfile.ZipFile(archive) as opened:
            for part in _PARTS.intersection(opened.namelist()):
                opened.extract(part, made)
        try:
            made.rename(folder)
        except OSError:
            # Another worker of this executor was first.
            shutil.rmtree(made)
    return folder
