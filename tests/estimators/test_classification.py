from __future__ import annotations

from typing import Any

import pytest
import torch
from pyspark.sql.types import DoubleType, StructField, StructType

from sparkdl import TorchClassificationModel, TorchClassifier
from sparkdl.data.format.manifest import DataFile, FieldCount, Manifest
from sparkdl.data.write import Dataset
from sparkdl.errors import DataError, NetworkError, SettingError
from sparkdl.estimators.classification import labels_in
from sparkdl.network import resolve
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, VECTOR, DataSchema, Field
from sparkdl.train.config import TrainConfig

X = Field("features", INPUT, ARRAY, ("features",), "float32", (3,))
LABELS = Field("label", LABEL, SCALAR, ("label",), "float32", (1,))
SCHEMA = DataSchema((X, LABELS))
INDEXED = {"ml_attr": {"type": "nominal", "name": "label", "vals": ["a", "b", "c"]}}


def columns(metadata: dict[str, Any] | None = None) -> StructType:
    return StructType([StructField("label", DoubleType(), metadata=metadata or {})])


def rows(*labels: float, label: Field = LABELS) -> Dataset:
    classes = {repr(float(v)): labels.count(v) for v in sorted(set(labels))}
    count = FieldCount(minimum=min(labels), maximum=max(labels), classes=classes)
    files = (DataFile("part-0", 0, 0, (len(labels),), 1),)
    return Dataset(Manifest("file:/rows", DataSchema((X, label)), files, {"label": count}), None, 0.0)


def settled(stage: TorchClassifier, *labels: float, metadata: dict[str, Any] | None = None) -> TrainConfig:
    return stage._settled(stage._config(), rows(*labels), columns(metadata))


def test_classes_come_from_the_param_the_metadata_or_the_rows() -> None:
    assert settled(TorchClassifier(numClasses=5), 0, 1, metadata=INDEXED).num_classes == 5
    assert settled(TorchClassifier(), 0, 1, metadata=INDEXED).num_classes == 3
    assert settled(TorchClassifier(), 0, 3).num_classes == 4
    with pytest.raises(DataError, match="the label 3, and 3 classes"):
        settled(TorchClassifier(), 0, 3, metadata=INDEXED)


def test_lists_of_classes_are_checked_against_the_rows() -> None:
    assert settled(TorchClassifier(classWeights=[1.0, 3.0]), 0, 1).class_weights == (1.0, 3.0)
    assert settled(TorchClassifier(classWeights="balanced"), 0, 1, 1, 1).class_weights == (2.0, 2 / 3)
    with pytest.raises(SettingError, match="classWeights has 2 entries for 3 classes"):
        settled(TorchClassifier(classWeights=[1.0, 3.0]), 0, 1, 2)
    with pytest.raises(SettingError, match="thresholds has 2 entries for 3 classes"):
        settled(TorchClassifier(thresholds=[0.5, 0.5]), 0, 1, 2)


def test_a_label_is_one_number() -> None:
    pair = Field("label", LABEL, ARRAY, ("label",), "float32", (2,))
    with pytest.raises(DataError, match="'label' holds arrays, and TorchClassifier learns the index of one class"):
        TorchClassifier()._declared(TrainConfig(), DataSchema((X, pair)), columns())
    # OneHotEncoder's metadata say that of two classes it has made one number.
    one_hot = Field("label", LABEL, VECTOR, ("label",), "float32", (1,))
    with pytest.raises(DataError, match="'label' holds .*: give the column that OneHotEncoder was made from"):
        TorchClassifier()._declared(TrainConfig(), DataSchema((X, one_hot)), columns())


def test_a_network_with_fewer_outputs_than_the_greatest_label_asks_for() -> None:
    config = TrainConfig(task="classification", num_classes=3_000_001)
    with pytest.raises(
        NetworkError, match="3000001 classes: .* outputs, or use TorchRegressor if this is a regression"
    ):
        TorchClassifier()._fitting(config, SCHEMA, ((2,),))
    with pytest.raises(NetworkError, match="give its last layer 3 outputs, or set numClasses"):
        TorchClassifier()._fitting(TrainConfig(task="classification", num_classes=3), SCHEMA, ((2,),))


def test_a_network_has_one_logit_for_each_class_or_one_for_two() -> None:
    two = TrainConfig(task="classification", num_classes=2, class_weights=(1.0, 2.0))
    stage = TorchClassifier()

    for outputs in (((2,),), ((1,),), ((),)):
        assert stage._fitting(two, SCHEMA, outputs) == two
    wider = stage._fitting(two, SCHEMA, ((4,),))
    assert (wider.num_classes, wider.class_weights) == (4, (1.0, 2.0, 0.0, 0.0))
    with pytest.raises(NetworkError, match=r"returns \(4,\) for a row, and there are 2 classes.*\(or one\)"):
        TorchClassifier(numClasses=2)._fitting(two, SCHEMA, ((4,),))
    with pytest.raises(NetworkError, match="there are 3 classes: give its last layer 3 outputs"):
        stage._fitting(TrainConfig(num_classes=3), SCHEMA, ((1,),))
    with pytest.raises(NetworkError, match=r"returns \(2,\) and \(2,\)"):
        stage._fitting(two, SCHEMA, ((2,), (2,)))


def test_a_network_by_name_gets_its_size() -> None:
    assert TorchClassifier()._output_size(TrainConfig(num_classes=3, losses=("cross_entropy",)), SCHEMA) == 3
    assert TorchClassifier()._output_size(TrainConfig(num_classes=2, losses=("bce_with_logits",)), SCHEMA) == 1


def test_lists_say_how_many_classes_there_are() -> None:
    def declared(stage: TorchClassifier, metadata: dict[str, Any] | None = None) -> tuple[int, Any]:
        config = stage._declared(stage._config(), SCHEMA, columns(metadata))
        return config.num_classes, config.class_weights

    assert declared(TorchClassifier()) == (0, None)
    assert declared(TorchClassifier(), INDEXED) == (3, None)
    assert declared(TorchClassifier(numClasses=5), INDEXED) == (5, None)
    assert declared(TorchClassifier(classWeights=[1.0, 2.0])) == (2, (1.0, 2.0))
    assert declared(TorchClassifier(thresholds=[0.3, 0.3, 0.4], classWeights="balanced")) == (3, (1.0, 1.0, 1.0))
    assert declared(TorchClassifier(classWeights="balanced")) == (0, None)
    with pytest.raises(SettingError, match="thresholds has 2 entries for 3 classes"):
        declared(TorchClassifier(thresholds=[0.5, 0.5]), INDEXED)


def test_a_network_that_tells_more_classes_apart_needs_as_many_thresholds() -> None:
    two = TrainConfig(task="classification", num_classes=2)
    with pytest.raises(SettingError, match="thresholds has 2 entries, and the network tells 4 classes apart"):
        TorchClassifier(thresholds=[0.5, 0.5])._fitting(two, SCHEMA, ((4,),))


def test_labels_of_a_string_indexer() -> None:
    assert labels_in(columns(INDEXED), "LABEL") == ["a", "b", "c"]
    assert labels_in(columns(), "label") == []
    both = StructType([StructField("LABEL", DoubleType(), metadata=INDEXED), StructField("label", DoubleType())])
    assert labels_in(both, "label") == []
    assert labels_in(both, "LABEL") == ["a", "b", "c"]
    assert labels_in(columns(INDEXED), "other") == []


def test_the_models_head_follows_its_params() -> None:
    network = resolve(torch.nn.Linear(3, 2), {}, SCHEMA, None, 0)
    model = TorchClassificationModel._create(
        network.module, network.reference, SCHEMA, ((2,),), [{"epoch": 1.0}], num_classes=2, labels=["no", "yes"]
    )
    estimator = TorchClassifier(predictionCol="class", rawPredictionCol="", thresholds=[0.3, 0.7], batchSize=9)
    model._follow(estimator)
    names = [column.name for column in model._head().columns()]

    assert names == ["probability", "class"]
    assert (model.numClasses, model.numFeatures, model.uid) == (2, 3, estimator.uid)
    assert model.getBatchSize() == 0
    assert model.copy({model.predictionCol: "other"})._head().columns()[-1].name == "other"
    with pytest.raises(SettingError, match="thresholds has 3 entries for 2 classes"):
        model.copy({model.thresholds: [0.1, 0.2, 0.7]})._head()
