"""Classification: class indices as labels; raw prediction, probability and prediction as columns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sparkdl.data.types import type_of
from sparkdl.errors import ColumnError, NetworkError, SettingError
from sparkdl.estimators.base import TrainingStage
from sparkdl.estimators.model import NetworkModel
from sparkdl.params.columns import HasClassColumns
from sparkdl.params.stages import ClassifierParams
from sparkdl.preflight.network import check_logits
from sparkdl.preflight.rows import balanced_weights, count_classes
from sparkdl.preflight.settings import check_classes
from sparkdl.scoring.outputs import ClassificationHead, Head

if TYPE_CHECKING:
    from pyspark.sql.types import StructType
    from torch import nn

    from sparkdl.data.write import Dataset
    from sparkdl.fitting.known import Prepared
    from sparkdl.preflight.dry_run import Shapes
    from sparkdl.schema import DataSchema
    from sparkdl.train.config import TrainConfig

_ATTRIBUTES = "ml_attr"
_MOST_INFERRED = 100
"""Classes that the greatest label alone may ask for, as in Spark ML's own classifiers."""


class TorchClassificationModel(HasClassColumns, NetworkModel):
    """The model of TorchClassifier.

    It adds `rawPredictionCol` and `probabilityCol`, vectors with one number for each class, and `predictionCol`, the
    index of a class as double. With two classes rawPrediction is [-m, m], as LogisticRegression's.
    """

    __module__ = "sparkdl"

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return int(self._extra("num_classes"))

    def _head(self) -> Head:
        thresholds = self.getThresholds()
        if thresholds is not None and len(thresholds) != self.numClasses:
            raise SettingError(
                f"thresholds has {len(thresholds)} entries for {self.numClasses} classes: give one for each, in order"
            )
        return ClassificationHead(
            raw_prediction=self.getRawPredictionCol(),
            probability=self.getProbabilityCol(),
            prediction=self.getPredictionCol(),
            classes=self.numClasses,
            thresholds=None if thresholds is None else tuple(thresholds),
            labels=tuple(self._extra("labels") or ()),
        )


class TorchClassifier(ClassifierParams, TrainingStage[TorchClassificationModel]):
    """Trains a network that tells classes apart, on several ranks.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given.

    Notes
    -----
    Labels are 0, 1, 2, ... in a column of any number type, as StringIndexer makes them. Their number is `numClasses`,
    else what the label column's metadata say, else the network's number of outputs or the greatest label and 1,
    whichever is more. A network by name is not made for more than 100 classes that nothing but a label tells, and more
    than 10,000 different labels need `numClasses` or metadata for any network. The network returns one logit for each
    class; for two classes one logit is enough. The loss is cross_entropy (of one logit: bce_with_logits) where `loss`
    is not set, and accuracy is measured where `metrics` is not set.

    Examples
    --------
    >>> TorchClassifier(module="mlp", epochs=5, numProcs=2).fit(df).transform(df)  # doctest: +SKIP
    """

    __module__ = "sparkdl"

    _task = "classification"
    _loss = "cross_entropy"
    _metrics = ("accuracy",)

    def _model_class(self) -> type[TorchClassificationModel]:
        return TorchClassificationModel

    def _head(self, schema: DataSchema, outputs: Shapes | None) -> Head:
        # How many classes there are is in no type.
        return ClassificationHead(self.getRawPredictionCol(), self.getProbabilityCol(), self.getPredictionCol(), 0)

    def _counted(self) -> list[str]:
        return [self.getLabelCol()]

    def _declared(self, config: TrainConfig, schema: DataSchema, columns: StructType) -> TrainConfig:
        (label,) = schema.labels
        if not type_of(label).stackable:
            said = (
                f"holds {type_of(label).plural}, and TorchClassifier learns the index of one class: "
                "give the column that OneHotEncoder was made from, or use TorchEstimator for several labels at once"
            )
            raise ColumnError(label.columns, said, label.role)
        given, thresholds = self.getClassWeights(), self.getThresholds()
        weights = given if isinstance(given, list) else None
        classes = self._classes_declared(columns)
        if classes:
            check_classes(self, classes)
        # A list has one entry for each class, or is refused when the rows are counted.
        classes = classes or len(weights or thresholds or ())
        if given == "balanced" and classes:
            weights = [1.0] * classes
        return replace(config, num_classes=classes, class_weights=None if weights is None else tuple(weights))

    def _classes_declared(self, columns: StructType) -> int:
        return self.getNumClasses() or len(labels_in(columns, self.getLabelCol()))

    def _settled(self, config: TrainConfig, rows: Dataset, columns: StructType) -> TrainConfig:
        declared = self._classes_declared(columns)
        classes = count_classes(rows.train, rows.validation, declared)
        if not declared and classes > _MOST_INFERRED and self._follows_labels():
            (label,) = rows.train.schema.labels
            said = (
                f"has the label {classes - 1}, and would give the network {classes:,} outputs: is this a regression? "
                f"Then use TorchRegressor; for more than {_MOST_INFERRED} classes set numClasses, or number them by "
                "StringIndexer"
            )
            raise ColumnError(label.columns, said, label.role)
        check_classes(self, classes)
        given = self.getClassWeights()
        weights = balanced_weights(rows.train, classes) if given == "balanced" else given
        return replace(config, num_classes=classes, class_weights=None if weights is None else tuple(weights))

    def _follows_labels(self) -> bool:
        """Whether the network is made for as many classes as there are labels."""
        return isinstance(self.getModule(), str) and "outputs" not in self.getModuleParams()

    def _output_size(self, config: TrainConfig, schema: DataSchema) -> int | None:
        return 1 if config.losses[0] == "bce_with_logits" else config.num_classes or 2

    def _dry_run(self, config: TrainConfig, module: nn.Module, schema: DataSchema) -> tuple[TrainConfig, Shapes | None]:
        config, outputs = super()._dry_run(config, module, schema)
        # Networks by name return logits.
        if outputs is not None and not isinstance(self.getModule(), str):
            check_logits(module, schema, outputs)
        return config, outputs

    def _fitting(self, config: TrainConfig, schema: DataSchema, outputs: Shapes) -> TrainConfig:
        size = math.prod(outputs[0]) if len(outputs) == 1 and len(outputs[0]) < 2 else 0
        classes = config.num_classes
        if size and not classes:
            # Before the rows are counted.
            return config
        if size == 1 and classes == 2:
            return config
        if size > classes and not self.getNumClasses():
            # The data may lack the last classes: a fold, a sample. Their weight has nothing to weigh.
            self._check_thresholds(size)
            weights = config.class_weights
            more = None if weights is None else (*weights, *(0.0,) * (size - classes))
            return replace(config, num_classes=size, class_weights=more)
        if not size or size != classes:
            shapes = " and ".join(str(shape) for shape in outputs)
            wanted = f"{classes or 'as many'} outputs{' (or one)' if classes == 2 else ''}"
            # What nobody has named are classes only because of the greatest label.
            guessed = classes > _MOST_INFERRED and not self.getNumClasses()
            remedy = "or use TorchRegressor if this is a regression" if guessed else "or set numClasses"
            raise NetworkError(
                f"the network returns {shapes} for a row, and there are {classes or 'several'} classes: "
                f"give its last layer {wanted}, {remedy}"
            )
        return config

    def _check_thresholds(self, size: int) -> None:
        thresholds = self.getThresholds()
        if thresholds is not None and len(thresholds) != size:
            raise SettingError(
                f"thresholds has {len(thresholds)} entries, and the network tells {size} classes apart: give one for "
                "each, or give its last layer as many outputs"
            )

    def _extra(self, prepared: Prepared, columns: StructType) -> dict[str, Any]:
        return {"num_classes": prepared.config.num_classes, "labels": labels_in(columns, self.getLabelCol())}


def labels_in(columns: StructType, name: str) -> list[str]:
    """Return the labels that a column's metadata give to 0, 1, ..., as StringIndexer leaves them; else none."""
    fields = [field for field in columns.fields if field.name == name] or [
        field for field in columns.fields if field.name.lower() == name.lower()
    ]
    attributes = fields[0].metadata.get(_ATTRIBUTES, {}) if fields else {}
    return [str(label) for label in attributes.get("vals", [])]
