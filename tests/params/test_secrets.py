from __future__ import annotations

import json
import pickle

import pytest
from mlflow.pyspark.ml import _gen_estimator_metadata, _get_instance_param_map
from pyspark.ml import Pipeline

from sparkdl import TorchClassifier
from sparkdl.params.secrets import Secret, concealed, reveal

OPTIONS = {"key": "AKIAKEY", "secret": "hunter2"}
URL = "s3://bob:a/b+hunter2@bucket/rows"
PARAMS = {"storageOptions": OPTIONS, "cacheUrl": URL, "checkpointUrl": URL, "moduleParams": {"urls": [URL]}}


def test_nobody_who_walks_over_the_params_sees_a_secret() -> None:
    stage = TorchClassifier(module="mlp", **PARAMS)
    pipeline = Pipeline(stages=[stage])
    names = _gen_estimator_metadata(pipeline).uid_to_indexed_name_map
    # What MLflow's autologging writes, as text and as JSON.
    logged = _get_instance_param_map(pipeline, names)
    copied = stage.copy({stage.cacheUrl: URL + "/deeper"})
    seen = [
        str(stage.extractParamMap()),
        str(stage.extractParamMap({stage.epochs: 2})),
        str(copied.extractParamMap()),
        stage.explainParams(),
        stage._repr_html_(),
        json.dumps(logged, default=str),
        *(f"{value} {value!r}" for value in logged.values()),
    ]
    assert not [text for text in seen if "hunter2" in text or "AKIAKEY" in text]
    assert logged["TorchClassifier.cacheUrl"].__repr__() == "s3://***@bucket/rows"


def test_getters_and_copies_have_the_values_themselves() -> None:
    stage = TorchClassifier(module="mlp", **PARAMS)
    for each in (stage, stage.copy({stage.epochs: 3}), TorchClassifier(module="mlp").setParams(**PARAMS)):
        assert (each.getStorageOptions(), each.getCacheUrl(), each.getCheckpointUrl()) == (OPTIONS, URL, URL)
        assert each.getModuleParams() == {"urls": [URL]}
        assert type(each.getCacheUrl()) is str
    assert stage.copy({stage.storageOptions: {}}).getStorageOptions() == {}
    assert stage.setCacheUrl("s3://bucket/rows").getOrDefault("cacheUrl") == "s3://bucket/rows"


def test_a_secret_equals_its_value_and_can_be_sent_but_not_iterated() -> None:
    secret = concealed(OPTIONS, True)
    assert isinstance(secret, Secret)
    assert secret == OPTIONS == reveal(pickle.loads(pickle.dumps(secret)))
    assert secret == Secret(OPTIONS, "another text")
    for walk in (iter, list, dict, len, json.dumps, vars):
        with pytest.raises(TypeError) as refused:
            walk(secret)  # type: ignore[operator]
        assert "hunter2" not in str(refused.value)
    assert concealed({}, True) == {}
    assert concealed("hdfs://name:8020/rows", False) == "hdfs://name:8020/rows"
