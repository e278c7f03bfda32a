"""From a metric's name to a torchmetrics object."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from sparkdl.errors import SettingError, did_you_mean
from sparkdl.train.metrics.door import load_torchmetrics

_SHORT = {
    "f1": "f1score",
    "mse": "meansquarederror",
    "rmse": "meansquarederror",
    "rootmeansquarederror": "meansquarederror",
    "mae": "meanabsoluteerror",
    "mape": "meanabsolutepercentageerror",
    "r2": "r2score",
    "auc": "auroc",
    "mcc": "matthewscorrcoef",
}
_PARAMS: dict[str, dict[str, Any]] = {"rmse": {"squared": False}, "rootmeansquarederror": {"squared": False}}
_NOT_ONE_NUMBER = re.compile("(Binary|Multiclass|Multilabel)?(ConfusionMatrix|ROC|PrecisionRecallCurve|StatScores)")


@dataclass(frozen=True)
class Recipe:
    """A torchmetrics class and what is known of its arguments before the first row.

    Attributes
    ----------
    label : str
        As the user wrote it.
    kind : type or Metric
        The class, or an object to copy.
    params : mapping
        Keyword arguments that the name implies.
    is_classification : bool
        Whether it takes probabilities and class indices.
    """

    label: str
    kind: Any
    params: Mapping[str, Any] = field(default_factory=dict)
    is_classification: bool = False


def recipe_of(spec: Any) -> Recipe:
    """Return the recipe for a name, a torchmetrics class or a torchmetrics object.

    Parameters
    ----------
    spec : str, type or Metric
        Names are those of torchmetrics' classes or functions, in any case, with or without underscores, or
        f1, mse, rmse, mae, mape, r2, auc, mcc.

    Raises
    ------
    SettingError
        Names the closest metrics that there are.
    """
    torchmetrics = load_torchmetrics()
    if isinstance(spec, str):
        key = _key(spec)
        there = _there()
        kind = there.get(_SHORT.get(key, key))
        if kind is None:
            names = sorted({k.__name__.lower() for k in there.values()} | set(_SHORT))
            hint = did_you_mean(spec, names, "see torchmetrics' classification and regression")
            raise SettingError(f"metrics: {spec!r} is not known: {hint}")
        return Recipe(spec, kind, _PARAMS.get(key, {}), _is_classification(kind))
    kind = spec if isinstance(spec, type) else type(spec)
    if not issubclass(kind, torchmetrics.Metric):
        package = torchmetrics.classification
        wrappers = {getattr(package, name) for name in package.__all__}
        if kind not in wrappers:
            raise SettingError(f"metrics: {spec!r} is no name, no torchmetrics class and no function(output, target)")
    return Recipe(kind.__name__, spec, {}, _is_classification(kind))


def higher_is_better(recipe: Recipe) -> bool | None:
    """Return the direction that torchmetrics gives, None where it gives none."""
    kind: Any = recipe.kind
    found = getattr(kind, "higher_is_better", None)
    if found is None and _takes_task(kind):
        for style, width in (("binary", 1), ("multiclass", 3)):
            # Some have no binary form.
            with suppress(SettingError):
                found = build(recipe, style, width).higher_is_better
                break
    return found if isinstance(found, bool) else None


def build(recipe: Recipe, style: str, width: int) -> Any:
    """Return a new torchmetrics object whose memory does not grow with the rows.

    Parameters
    ----------
    recipe : Recipe
    style : str
        "binary", "multiclass", "multilabel".
    width : int
        Numbers of a row of the output.

    Raises
    ------
    SettingError
        It cannot be made of these alone, or it would keep every row.
    """
    if not isinstance(recipe.kind, type):
        made = recipe.kind.clone()
        made.sync_on_compute = made._to_sync = False
    else:
        try:
            made = recipe.kind(**_arguments(recipe, style, width))
        except (TypeError, ValueError) as error:
            raise SettingError(f"metric {recipe.label} cannot be made without further settings: {error}") from error
    if any(isinstance(default, list) for default in made._defaults.values()):
        raise SettingError(f"metric {recipe.label} keeps every row of an epoch in memory: take another, or a function")
    # Counts and sums of a long epoch lose rows in float32.
    return made.set_dtype(torch.float64)


def _arguments(recipe: Recipe, style: str, width: int) -> dict[str, Any]:
    kind = recipe.kind
    accepted = inspect.signature(kind.__new__ if _takes_task(kind) else kind.__init__).parameters
    arguments: dict[str, Any] = dict(recipe.params)
    if recipe.is_classification:
        if _takes_task(kind):
            arguments["task"] = style
            # torchmetrics' default, micro, makes precision, recall and F1 of several classes the accuracy.
            if "average" in accepted and style != "binary" and kind.__name__ != "Accuracy":
                arguments["average"] = "macro"
        sizes = {"num_classes": max(2, width), "num_labels": width}
        arguments |= {name: size for name, size in sizes.items() if name in accepted}
        if "thresholds" in accepted:
            arguments["thresholds"] = _thresholds()
        arguments["validate_args"] = False
    elif "num_outputs" in accepted and width > 1 and arguments.get("squared", True):
        arguments["num_outputs"] = width
    return arguments | {"sync_on_compute": False, "compute_with_cache": False}


def _thresholds() -> torch.Tensor:
    """Return where curves are sampled: evenly in probability, and evenly in logits for those close to 0 and 1."""
    even, close = torch.linspace(0, 1, 101), torch.linspace(-12, 12, 121).sigmoid()
    thresholds: torch.Tensor = torch.cat((even, close)).unique()
    return thresholds


def _there() -> dict[str, Any]:
    torchmetrics = load_torchmetrics()
    packages = (torchmetrics.regression, torchmetrics.classification)
    return {
        _key(name): getattr(package, name)
        for package in packages
        for name in package.__all__
        if not _NOT_ONE_NUMBER.fullmatch(name)
    }


def _is_classification(kind: Any) -> bool:
    return str(kind.__module__).startswith("torchmetrics.classification")


def _takes_task(kind: Any) -> bool:
    return isinstance(kind, type) and "task" in inspect.signature(kind.__new__).parameters


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
