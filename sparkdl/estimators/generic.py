"""TorchEstimator: any network, by any loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sparkdl.errors import NetworkError
from sparkdl.estimators.base import TrainingStage
from sparkdl.estimators.model import TorchModel
from sparkdl.fitting.labels import label_order
from sparkdl.params.stages import EstimatorParams
from sparkdl.preflight.dry_run import Shapes
from sparkdl.scoring.outputs import GenericHead, Head
from sparkdl.train.losses import CLASSES, compares

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from sparkdl.fitting.known import Prepared
    from sparkdl.schema import DataSchema
    from sparkdl.train.config import TrainConfig


class TorchEstimator(EstimatorParams, TrainingStage[TorchModel]):
    """Trains any network by any loss, on several ranks; with several inputs and labels if there are.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given.

    Notes
    -----
    The network gets one tensor for each input, (n, 1) for a scalar column, (n, k) for an array, a vector or
    `featuresCols`, (n, ...) for nested arrays, (n, 3, H, W) for images; integers as int64, all else as float32. It
    returns one tensor, or a tuple or dict of as many as there are labels, each with n rows, in the order of labelCols;
    those of a dict whose keys are the names of the labels belong to these, in whatever order (and the model's
    `outputCols` are in the order of the network's outputs). A label takes the shape of its output where the sizes
    agree; class losses get int64 (n,).

    Examples
    --------
    >>> model = TorchEstimator(module=net, loss="huber", epochs=5, numProcs=2).fit(df)  # doctest: +SKIP
    """

    __module__ = "sparkdl"

    def _model_class(self) -> type[TorchModel]:
        return TorchModel

    def _head(self, schema: DataSchema, outputs: Shapes | None) -> Head:
        names = self.getOutputCols()
        if outputs is None:
            losses = self._config().losses
            outputs = tuple(
                (-1,) if compares(loss) == CLASSES else f.shape for f, loss in zip(schema.labels, losses, strict=True)
            )
        if names is None:
            return GenericHead((self.getPredictionCol(),), outputs)
        return GenericHead(tuple(names[label] for label in label_order(outputs, schema.labels)), outputs)

    def _model_of(
        self,
        prepared: Prepared,
        columns: StructType,
        history: Sequence[Mapping[str, float]] = (),
        best_epoch: int | None = None,
    ) -> TorchModel:
        model = super()._model_of(prepared, columns, history, best_epoch)
        names = self.getOutputCols()
        if names is not None:
            # A model knows no labels: it names the outputs in the order in which the network returns them.
            order = label_order(prepared.outputs, prepared.schema.labels)
            model._set(outputCols=[names[label] for label in order])
        return model

    def _output_size(self, config: TrainConfig, schema: DataSchema) -> int | None:
        if len(schema.labels) != 1 or compares(config.losses[0]) == CLASSES:
            return None
        return schema.labels[0].size

    def _fitting(self, config: TrainConfig, schema: DataSchema, outputs: Shapes) -> TrainConfig:
        if len(outputs) != len(schema.labels):
            raise NetworkError(
                f"the network returns {len(outputs)} outputs for {len(schema.labels)} labels: let it return one for "
                "each, in the order of labelCols"
            )
        return config
