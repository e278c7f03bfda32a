"""Regression: one number for each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sparkdl.data.types import type_of
from sparkdl.errors import ColumnError, NetworkError
from sparkdl.estimators.base import TrainingStage
from sparkdl.estimators.model import NetworkModel
from sparkdl.params.stages import RegressorParams
from sparkdl.scoring.outputs import Head, RegressionHead

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from sparkdl.preflight.dry_run import Shapes
    from sparkdl.schema import DataSchema
    from sparkdl.train.config import TrainConfig


class TorchRegressionModel(NetworkModel):
    """The model of TorchRegressor: adds `predictionCol`, a double."""

    __module__ = "sparkdl"

    def _head(self) -> Head:
        return RegressionHead(self.getPredictionCol())


class TorchRegressor(RegressorParams, TrainingStage[TorchRegressionModel]):
    """Trains a network that predicts a number, on several ranks.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given. The loss is mse
        where `loss` is not set.

    Examples
    --------
    >>> TorchRegressor(module="mlp", epochs=5, numProcs=2).fit(df).transform(df)  # doctest: +SKIP
    """

    __module__ = "sparkdl"

    _task = "regression"

    def _model_class(self) -> type[TorchRegressionModel]:
        return TorchRegressionModel

    def _head(self, schema: DataSchema, outputs: Shapes | None) -> Head:
        return RegressionHead(self.getPredictionCol())

    def _declared(self, config: TrainConfig, schema: DataSchema, columns: StructType) -> TrainConfig:
        _check_label(schema)
        return config

    def _output_size(self, config: TrainConfig, schema: DataSchema) -> int | None:
        return 1

    def _fitting(self, config: TrainConfig, schema: DataSchema, outputs: Shapes) -> TrainConfig:
        _check_label(schema)
        if len(outputs) != 1 or math.prod(outputs[0]) != 1:
            raise NetworkError(
                f"the network returns {' and '.join(str(shape) for shape in outputs)} for a row, and TorchRegressor "
                "predicts one number: give its last layer one output, or use TorchEstimator"
            )
        return config


def _check_label(schema: DataSchema) -> None:
    (label,) = schema.labels
    if not type_of(label).fillable or (label.known and label.size != 1):
        what = f"{label.size} numbers a row" if label.known else type_of(label).plural
        raise ColumnError(
            label.columns, f"holds {what}, and TorchRegressor learns one number: use TorchEstimator", label.role
        )
