"""`sparkdl.connect` as far as it needs no server: which values travel and how, and what is refused before."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from pyspark.errors import PySparkException

import sparkdl
from sparkdl import connect
from sparkdl.connect import TorchClassificationModel, TorchClassifier, TorchEstimator, TorchModel, TorchRegressor
from sparkdl.params.setting import Setting

PAIRS = [(getattr(connect, name), getattr(sparkdl, name)) for name in connect.__all__]


def travels(stage: Any) -> dict[str, Any]:
    return {param.name: connect._text(param, value) for param, value in stage._paramMap.items()}


@pytest.mark.parametrize(("thin", "full"), PAIRS)
def test_the_params_are_those_of_the_full_stage(thin: type, full: type) -> None:
    def declared(stage: Any) -> dict[str, tuple[str, bool, Any]]:
        defaults = {param.name: param.default for param in stage.params if isinstance(param, Setting)}
        return {param.name: (param.doc, stage.hasDefault(param), defaults.get(param.name)) for param in stage.params}

    assert declared(thin()) == declared(full())
    assert thin.__name__ == full.__name__
    assert "Params\n------" in (thin.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("module", "mlp", "mlp"),
        ("module", "package.module:Net", "package.module:Net"),
        ("moduleParams", {"hidden": [8], "activation": "relu"}, '{"hidden": [8], "activation": "relu"}'),
        ("moduleParams", {}, "{}"),
        ("metrics", ["accuracy", "f1"], '["accuracy", "f1"]'),
        ("metrics", "accuracy", '["accuracy"]'),
        ("classWeights", "balanced", "balanced"),
        ("classWeights", [1, 2.5], "[1.0, 2.5]"),
        ("loss", "12", '"12"'),
        ("loss", "true", '"true"'),
        ("loss", "null", "null"),
        ("featuresCols", ["a", "b"], ["a", "b"]),
        ("thresholds", [0.5, 0.5], [0.5, 0.5]),
        ("numProcs", 2, 2),
        ("learningRate", 1, 1.0),
        ("dropLast", True, True),
    ],
)
def test_what_travels_and_comes_back(name: str, value: Any, text: Any) -> None:
    stage = TorchClassifier(**{name: value})
    assert travels(stage) == {name: text}
    # As the reader sets what the server has sent.
    again = TorchClassifier()
    again._set(**travels(stage))
    assert again.getOrDefault(name) == stage.getOrDefault(name)


@pytest.mark.parametrize("name", ["{curly", "[square"])
def test_a_text_that_only_looks_like_json(name: str) -> None:
    stage = TorchClassifier(loss=name)
    assert travels(stage) == {"loss": json.dumps(name)}
    again = TorchClassifier()
    again._set(**travels(stage))
    assert again.getLoss() == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("module", dict), ("loss", len), ("moduleParams", {"a": object}), ("moduleParams", {"a": 1e999})],
)
def test_what_is_no_json_is_refused(name: str, value: Any) -> None:
    stage = TorchClassifier(**{name: value})
    with pytest.raises(
        sparkdl.SparkDLError, match=f"^invalid {name}=.*: expected JSON, as Spark Connect carries"
    ) as no:
        travels(stage)
    assert "\n" not in str(no.value)


def test_a_secret_is_refused_and_not_shown() -> None:
    with pytest.raises(sparkdl.SparkDLError, match="^invalid storageOptions: Spark Connect ML has no way") as refused:
        TorchClassifier(storageOptions={"key": "hush"})
    assert "hush" not in str(refused.value)


def test_names_of_classes_in_a_file_are_not_taken() -> None:
    with pytest.raises(sparkdl.SparkDLError, match="^invalid module=.*: expected a name that this program gives"):
        TorchClassifier()._set(module='{"$": "object", "v": "package.module:Net"}')


def test_wrong_values_have_the_sentences_of_the_full_stage() -> None:
    with pytest.raises(sparkdl.SparkDLError, match=r"^invalid epochs=0: expected an integer >= 1$"):
        TorchClassifier(epochs=0)
    with pytest.raises(TypeError, match="TorchRegressor has no Param 'epoch': did you mean 'epochs'"):
        TorchRegressor(epoch=1)


def test_a_session_with_a_jvm_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "is_remote", lambda: False)
    said = r"^sparkdl.connect.Torch\w+ needs a session of Spark Connect, .*: use sparkdl.Torch\w+, or SparkSession"
    refused: list[Any] = [
        lambda: TorchEstimator(module="mlp")._fit(None),  # type: ignore[arg-type]
        lambda: TorchModel()._transform(None),  # type: ignore[arg-type]
        lambda: TorchEstimator().write(),
        lambda: TorchModel.load("/nowhere"),
    ]
    for call in refused:
        with pytest.raises(sparkdl.SparkDLError, match=said):
            call()


def test_a_model_follows_its_estimator_except_in_how_rows_are_scored() -> None:
    stage = TorchClassifier(batchSize=7, device="cpu", featuresCol="x", probabilityCol="p")
    model = stage._copyValues(TorchClassificationModel())
    assert {param.name: value for param, value in model._paramMap.items()} == {
        "featuresCol": "x",
        "probabilityCol": "p",
    }
    assert model.getBatchSize() == 0
    # The model in the server names its outputs in the order of the network's.
    several = TorchEstimator(labelCols=["a", "b"], outputCols=["c", "d"])._copyValues(TorchModel())
    assert not several.isSet("outputCols")
    copied = stage.copy({stage.epochs: 4})
    assert (copied.getBatchSize(), copied.getEpochs(), stage.getEpochs()) == (7, 4, TorchClassifier().getEpochs())


def test_a_value_can_be_taken_away() -> None:
    stage = TorchClassifier(epochs=4)
    stage.clear(stage.epochs)
    assert not stage.isSet("epochs")


@pytest.mark.parametrize("what", ["history", "network"])
def test_what_does_not_travel(what: str) -> None:
    with pytest.raises(sparkdl.SparkDLError, match="does not travel over Spark Connect ML: save the model, and"):
        getattr(TorchModel(), what)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("(sparkdl.SparkDLException) no rows: fill it\n\nIn Python:\nTraceback ...", "no rows: fill it"),
        (
            "(sparkdl.SparkDLException) no rows: fill it\n\nJVM stacktrace:\nsparkdl.SparkDLException\n",
            "no rows: fill it",
        ),
        (
            "Unsupported ML operator, found sparkdl.TorchClassifier",
            "this server does not know sparkdl.TorchClassifier: ",
        ),
        ("Unsupported read for sparkdl.connect.TorchModel\n", "this server does not know sparkdl.connect.TorchModel: "),
    ],
)
def test_the_server_s_sentence(said: str, sentence: str) -> None:
    with pytest.raises(sparkdl.SparkDLError, match="^" + re.escape(sentence)), connect._one_sentence():
        raise PySparkException(said)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(PySparkException, match=r"^\[TABLE_NOT_FOUND\]"), connect._one_sentence():
        raise PySparkException("[TABLE_NOT_FOUND] mine")


def test_it_needs_neither_torch_nor_the_rest() -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'petastorm', 'fsspec', 'safetensors', 'torchmetrics', 'cloudpickle', 'tqdm'):\n"
        "    sys.modules[name] = None\n"
        "from sparkdl.connect import TorchClassifier\n"
        "print(TorchClassifier(module='mlp').explainParams()[:3])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
