from __future__ import annotations

from typing import Any

import pytest

from sparkdl.errors import SettingError
from sparkdl.params.stages import ClassifierParams, EstimatorParams
from sparkdl.preflight.settings import check_classes, check_settings, shards_of, validates
from sparkdl.train import EarlyStopping

COLUMNS = ["features", "label", "other", "held"]

SENTENCES: list[tuple[dict[str, Any], str]] = [
    ({"module": None}, "module is not set: give a name in sparkdl.nn"),
    ({"predictionCol": "other"}, "predictionCol='other' names a column that the DataFrame has already"),
    ({"outputCols": ["a", "label"]}, "outputCols[1]='label' names a column that the DataFrame has"),
    (
        {"validationIndicatorCol": "held", "validationFraction": 0.1},
        "validationIndicatorCol='held' and validationFraction=0.1 both choose the validation rows",
    ),
    (
        {"earlyStoppingPatience": 2},
        "earlyStoppingPatience=2 watches 'val_loss', and no rows are validated",
    ),
    (
        {"earlyStoppingPatience": 2, "earlyStoppingMetric": "f1"},
        "earlyStoppingMetric='f1' is not measured: take one of loss, accuracy",
    ),
    (
        {"earlyStoppingPatience": 2, "earlyStoppingMetric": "val_f1", "validationFraction": 0.5},
        "take one of loss, accuracy, val_loss, val_accuracy",
    ),
    (
        {"callbacks": [EarlyStopping("f1")], "validationFraction": 0.5},
        "invalid metric='f1' of EarlyStopping: expected one of loss, accuracy, val_loss, val_accuracy",
    ),
    (
        {"compile": {"fullgraph": True}, "syncBatchNorm": True, "numProcs": 2},
        "compile={'fullgraph': True} and syncBatchNorm=True: the ranks meet in each layer of batch norm",
    ),
    ({"callbacks": [EarlyStopping()]}, "invalid metric='val_loss' of EarlyStopping: expected one of loss, accuracy;"),
    (
        {"callbacks": [EarlyStopping("loss")], "earlyStoppingPatience": 2, "earlyStoppingMetric": "loss"},
        "earlyStoppingPatience=2 makes an EarlyStopping already",
    ),
    ({"canonicalShards": 2, "numProcs": 3}, "canonicalShards=2 is less than numProcs=3"),
    ({"minProcs": 3, "numProcs": 2}, "minProcs=3 is more than numProcs=2: set minProcs to 2 or less"),
    ({"backend": "local", "numProcs": 2}, "backend='local' is one rank alone, and numProcs=2"),
    ({"precision": "fp16", "device": "cpu"}, "precision='fp16' needs a GPU, and the device is the cpu"),
    ({"accumulationSteps": 5, "batchSize": 4}, "accumulationSteps=5 is more than batchSize=4"),
    (
        {"feed": "direct", "cacheUrl": "hdfs://name/rows"},
        "feed='direct' writes no files, and cacheUrl='hdfs://name/rows' is a folder for them: leave cacheUrl out",
    ),
    ({"loss": ["mse", "l1"]}, "loss has 2 entries for 1 label column"),
    ({"lossParams": [{}, {}]}, "lossParams has 2 entries for 1 label column"),
    ({"labelCols": ["label", "other"], "lossWeights": [1.0]}, "lossWeights has 1 entries for 2 label"),
    ({"labelCols": ["label", "other"]}, "labelCols names 2 labels, of one output each, and predictionCol names one"),
    ({"outputCols": ["a", "b"]}, "outputCols has 2 names for 1 label column, and the network has one output for each"),
    ({"labelCols": ["label", "other"], "outputCols": ["a"]}, "outputCols has 1 names for 2 label columns"),
    ({"optimizerParams": {"lr": 0.1}}, "optimizerParams holds lr=0.1, and learningRate=0.001"),
    ({"lrScheduleParams": {"gamma": 0.1}}, "has no effect without lrSchedule"),
]


@pytest.mark.parametrize(("settings", "sentence"), SENTENCES)
def test_a_contradiction_is_refused_by_name(settings: dict[str, Any], sentence: str) -> None:
    stage = EstimatorParams(**{"module": "mlp", **settings})

    with pytest.raises(SettingError) as error:
        check_settings(stage, COLUMNS, ["loss", "accuracy"])
    assert sentence in str(error.value)


def test_what_does_not_contradict_passes() -> None:
    for settings in (
        {},
        {"validationIndicatorCol": "held", "earlyStoppingPatience": 1},
        {"earlyStoppingPatience": 1, "earlyStoppingMetric": "accuracy"},
        {"callbacks": [EarlyStopping("accuracy")]},
        {"inputCols": ["features", "other"], "predictionCol": ""},
        {"labelCols": ["label", "other"], "loss": ["mse", "l1"], "lossWeights": [1.0, 2.0], "outputCols": ["a", "b"]},
        {"lrSchedule": "StepLR", "lrScheduleParams": {"step_size": 1}},
    ):
        check_settings(EstimatorParams(module="mlp", **settings), COLUMNS, ["loss", "accuracy"])


def test_a_classifiers_columns_and_lists() -> None:
    with pytest.raises(SettingError, match="predictionCol and probabilityCol both name the column 'p'"):
        check_settings(ClassifierParams(module="mlp", predictionCol="p", probabilityCol="p"), COLUMNS, ["loss"])
    with pytest.raises(SettingError, match="thresholds has 2 entries for 3 classes"):
        check_settings(ClassifierParams(module="mlp", numClasses=3, thresholds=[0.5, 0.5]), COLUMNS, ["loss"])
    lists = {"thresholds": [0.5, 0.5], "classWeights": [1.0, 2.0, 3.0]}
    with pytest.raises(SettingError, match="thresholds has 2 entries and classWeights 3: give each one for each class"):
        check_settings(ClassifierParams(module="mlp", **lists), COLUMNS, ["loss"])
    with pytest.raises(SettingError, match="classWeights has 2 entries for 3 classes"):
        check_classes(ClassifierParams(classWeights=[1.0, 2.0]), 3)
    check_classes(ClassifierParams(classWeights="balanced", thresholds=[0.2, 0.3, 0.5]), 3)


def test_names_of_columns_are_compared_as_spark_compares_them() -> None:
    stage = EstimatorParams(module="mlp", predictionCol="Label")

    check_settings(stage, COLUMNS, ["loss"], case_sensitive=True)
    with pytest.raises(SettingError, match="predictionCol='Label' names a column that the DataFrame has already"):
        check_settings(stage, COLUMNS, ["loss"])


def test_shards_and_validation() -> None:
    assert shards_of(EstimatorParams()) == 8
    assert shards_of(EstimatorParams(numProcs=12)) == 12
    assert shards_of(EstimatorParams(canonicalShards=4)) == 4
    assert not validates(EstimatorParams())
    assert validates(EstimatorParams(validationFraction=0.1))
    assert validates(EstimatorParams(validationIndicatorCol="held"))
