"""Which columns play which part, as plain values, read from the Params of a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from sparkdl.errors import ColumnError, DataError, SettingError, subject
from sparkdl.params.columns import HasClassColumns, HasInputs, HasLabel, HasLabels, HasOutputs, HasPrediction
from sparkdl.params.stages import TrainingParams
from sparkdl.schema import INPUT, LABEL, VALIDATION, WEIGHT

R = TypeVar("R")

FEATURES = "features"
"""Name of the one input that is not named after its column."""

_WAYS = {
    INPUT: ("inputCols", "featuresCols", "featuresCol"),
    LABEL: ("labelCols", "labelCol"),
    WEIGHT: ("weightCol",),
    VALIDATION: ("validationIndicatorCol",),
}
"""The Params that choose the columns of each role; the last one has a default."""


def inputs_of(stage: HasInputs) -> list[tuple[str, list[str]]]:
    """Return name and columns of each input of the network, in its order.

    Raises
    ------
    SettingError
        If the inputs are named in two ways.
    """
    given = [name for name in ("featuresCol", "featuresCols", "inputCols") if stage.isSet(name)]
    if len(given) > 1:
        values = " and ".join(f"{name}={stage.getOrDefault(name)!r}" for name in given)
        raise SettingError(f"{values} both name the inputs: set one of featuresCol, featuresCols and inputCols")
    several, stacked = stage.getInputCols(), stage.getFeaturesCols()
    if several:
        return [(name, [name]) for name in several]
    return [(FEATURES, stacked if stacked else [stage.getFeaturesCol()])]


def labels_of(stage: HasLabel) -> list[str]:
    """Return the columns that are learned, one for each output of the network.

    Raises
    ------
    SettingError
        If they are named in two ways.
    """
    several = stage.getLabelCols() if isinstance(stage, HasLabels) else None
    if several and stage.isSet("labelCol"):
        raise SettingError(f"labelCol={stage.getLabelCol()!r} and labelCols={several!r} both name labels: set one")
    return several if several else [stage.getLabelCol()]


def names_params(method: Callable[..., R]) -> Callable[..., R]:
    """Decorate a stage's method: what it finds wrong with a column is a DataError that names the Param as well.

    "labelCol='y' has 1 row with a null: remove them", or of a Param that names several columns "column 'y' of
    labelCols has ...".
    """

    @wraps(method)
    def call(self: HasInputs, *args: Any, **kwargs: Any) -> R:
        try:
            return method(self, *args, **kwargs)
        except ColumnError as error:
            raise DataError(f"{_named(self, error.role, error.columns)} {error.said}") from error.__cause__

    return call


def _named(stage: HasInputs, role: str, columns: Sequence[str]) -> str:
    ways = _WAYS[role]
    param = next((name for name in ways if stage.hasParam(name) and stage.isSet(name)), ways[-1])
    if param.endswith("Cols"):
        return f"{subject(columns)} of {param}"
    return f"{param}={columns[0]!r}"


def weight_of(stage: TrainingParams) -> str | None:
    """Return the column of the row weights; an empty name is none, as everywhere in Spark ML."""
    return stage.getWeightCol() or None


def added_columns(stage: HasPrediction) -> dict[str, str]:
    """Return the columns that the model will add, by what names them; those left out are not in it.

    Raises
    ------
    SettingError
        If the outputs are named in two ways.
    """
    several = stage.getOutputCols() if isinstance(stage, HasOutputs) else None
    if several and stage.isSet("predictionCol"):
        raise SettingError(
            f"predictionCol={stage.getPredictionCol()!r} and outputCols={several!r} both name what is added: set one"
        )
    named = [("outputCols", name) for name in several or []] or [("predictionCol", stage.getPredictionCol())]
    added = {f"outputCols[{i}]" if param == "outputCols" else param: name for i, (param, name) in enumerate(named)}
    if isinstance(stage, HasClassColumns):
        added |= {"rawPredictionCol": stage.getRawPredictionCol(), "probabilityCol": stage.getProbabilityCol()}
    return {param: name for param, name in added.items() if name}
