"""Deep learning on Spark: DataFrame in, Horovod-distributed PyTorch training, Spark ML model out.

    from sparkdl import TorchClassifier

    model = TorchClassifier(module="mlp", epochs=20, learningRate=0.01).fit(df)  # columns "features" and "label"
    model.transform(df)
    model.plotHistory()

What there is; ``help`` of each lists its Params:

    TorchClassifier    trains a network that tells classes apart; its model is a TorchClassificationModel
    TorchRegressor     trains a network that predicts a number; its model is a TorchRegressionModel
    TorchEstimator     trains any network by any loss; its model is a TorchModel
    HorovodRunner      runs a training loop of your own on several ranks
    load_model         loads a model from a folder or from MLflow, without Spark's file systems
    register, trusted  say which classes and which pickled code a saved model may bring back
    jar_path           the jar of the same stages for Scala, Java and Spark Connect servers
    SparkDLError       what all errors of sparkdl are
    sparkdl.connect    the same stages for a client of Spark Connect without torch
    sparkdl.nn         networks by name: mlp, cnn
    sparkdl.train      Callback, what looks on while a network is trained, and some that are ready
    sparkdl.data       make_spark_converter and open_parquet: rows for a training loop of your own

Names are imported when they are first used, so that ``import sparkdl`` is quick and has no side effect.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sparkdl.errors import SparkDLError
from sparkdl.version import __version__

if TYPE_CHECKING:
    from sparkdl.estimators.classification import TorchClassificationModel, TorchClassifier
    from sparkdl.estimators.generic import TorchEstimator
    from sparkdl.estimators.load import load_model
    from sparkdl.estimators.model import TorchModel
    from sparkdl.estimators.regression import TorchRegressionModel, TorchRegressor
    from sparkdl.jar import jar_path
    from sparkdl.network import register
    from sparkdl.persistence import trusted
    from sparkdl.runner import HorovodRunner

_PLACES = {
    "TorchEstimator": "sparkdl.estimators.generic",
    "TorchModel": "sparkdl.estimators.model",
    "TorchClassifier": "sparkdl.estimators.classification",
    "TorchClassificationModel": "sparkdl.estimators.classification",
    "TorchRegressor": "sparkdl.estimators.regression",
    "TorchRegressionModel": "sparkdl.estimators.regression",
    "HorovodRunner": "sparkdl.runner",
    "jar_path": "sparkdl.jar",
    "load_model": "sparkdl.estimators.load",
    "register": "sparkdl.network",
    "trusted": "sparkdl.persistence",
    # Spark's reader of a saved search asks for it by this name.
    "GridValue": "sparkdl.persistence",
}

__all__ = [
    "HorovodRunner",
    "SparkDLError",
    "TorchClassificationModel",
    "TorchClassifier",
    "TorchEstimator",
    "TorchModel",
    "TorchRegressionModel",
    "TorchRegressor",
    "__version__",
    "jar_path",
    "load_model",
    "register",
    "trusted",
]


def __getattr__(name: str) -> object:
    if name in _PLACES:
        # A client of Spark Connect may have no torch: its server has.
        thin = name.startswith("Torch") and find_spec("torch") is None
        value = getattr(import_module("sparkdl.connect" if thin else _PLACES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
