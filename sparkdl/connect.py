"""Stages for a client of Spark Connect that has neither torch nor a JVM: the server fits, keeps and runs them.

    from sparkdl.connect import TorchClassifier

    model = TorchClassifier(module="mlp", epochs=20, learningRate=0.01).fit(df)
    model.transform(df)

They speak Spark's own protocol for Spark Connect ML, to a server that was started with the jar of sparkdl; this module
needs nothing but pyspark or pyspark-client, 4.1 or later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pyspark.errors import PySparkException
from pyspark.ml.param import Param, Params
from pyspark.ml.util import JavaMLReadable, JavaMLWritable
from pyspark.ml.wrapper import JavaEstimator, JavaModel
from pyspark.sql import is_remote

from sparkdl.errors import ClusterError, SettingError, SparkDLError, invalid
from sparkdl.params.columns import HasClassColumns, HasInputs, HasOutputs, HasPrediction
from sparkdl.params.scoring import HasScoring
from sparkdl.params.secrets import reveal
from sparkdl.params.setting import Setting, Settings
from sparkdl.params.stages import ClassifierParams, EstimatorParams, RegressorParams, TrainingParams

if TYPE_CHECKING:
    from typing import Self

    from pyspark.ml.util import RemoteModelRef
    from pyspark.sql import DataFrame

__all__ = [
    "TorchClassificationModel",
    "TorchClassifier",
    "TorchEstimator",
    "TorchModel",
    "TorchRegressionModel",
    "TorchRegressor",
]

S = TypeVar("S", bound=JavaMLReadable[Any])

_PLAIN = frozenset({"int", "float", "bool", "str", "str | bool", "list[str]", "list[float]"})
"""Types that the protocol has words for; all else travels as the text of its JSON."""
_OBJECT = "$"
"""Key of what was saved of a class, a function or a network."""
_SCORING = frozenset(name for name in dir(HasScoring) if isinstance(getattr(HasScoring, name), Param))
_CARRIED = (
    "JSON, as Spark Connect carries nothing else: a class or a function is given as the text 'package.module:Name', "
    "and the server's Python imports it"
)
_ANEW = "a name that this program gives: what was saved as a class, a function or a network is not read over Connect"
_REFUSED = re.compile(r"sparkdl\.SparkDLException\)?:? *(.*?)(?:\n\nIn Python:|\n\nJVM stacktrace:|\Z)", re.DOTALL)
_UNKNOWN = re.compile(r"(?:Unsupported ML operator, found|Unsupported read for) (sparkdl\.[\w.]+)")


class _Carried(Settings):
    """Params whose values Spark Connect can carry."""

    def _set(self, **settings: Any) -> Self:
        return super()._set(**{name: _taken(self.getParam(name), value) for name, value in settings.items()})

    def clear(self, param: Param[Any]) -> None:
        """Take the value of a Param away."""
        # Spark's own stages do nothing here while they are remote.
        Params.clear(self, param)

    def _sent(self) -> Self:
        """Return a copy whose Params have the values that travel."""
        _check_remote(self)
        sent = self.copy()
        sent._paramMap = {param: _text(param, reveal(value)) for param, value in self._paramMap.items()}
        return sent


class _Operator(JavaEstimator[Any], JavaMLReadable[Any], JavaMLWritable):
    """An estimator that lies in the server, under its name there."""

    def __init__(self) -> None:
        super().__init__()
        self._java_obj: Any = f"sparkdl.{type(self).__name__}"


class _TrainingStage(_Carried, TrainingParams, _Operator):
    """An estimator that the server fits."""

    def _fit(self, dataset: DataFrame) -> Any:
        with _one_sentence():
            return JavaEstimator._fit(self._sent(), dataset)

    def _copyValues(self, to: Any, extra: Any = None) -> Any:
        if not isinstance(to, JavaModel):
            return super()._copyValues(to, extra)
        # How rows are scored is the model's own affair. The names of outputs, which the model in the server has, come
        # in the order in which the network returns them.
        for param, value in self._paramMap.items():
            if param.name not in _SCORING and param.name != "outputCols" and to.hasParam(param.name):
                to._set(**{param.name: value})
        return to

    def write(self) -> Any:
        """Return the writer, whose paths are the server's."""
        return JavaMLWritable.write(self._sent())

    @classmethod
    def load(cls, path: str) -> Self:
        """Load from a path of the server's file systems."""
        return _loaded(cls, path)


class _NetworkModel(_Carried, HasInputs, HasPrediction, HasScoring, JavaModel, JavaMLReadable[Any], JavaMLWritable):
    """A trained network that the server keeps as long as this client refers to it."""

    def __init__(self, java_model: RemoteModelRef | None = None) -> None:
        super().__init__()
        self._java_obj: Any = java_model

    def __repr__(self) -> str:
        return f"{type(self).__name__}_{self.uid.partition('_')[2]}"

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return JavaModel._transform(self._sent(), dataset)

    def write(self) -> Any:
        """Return the writer, whose paths are the server's."""
        return JavaMLWritable.write(self._sent())

    @classmethod
    def load(cls, path: str) -> Self:
        """Load from a path of the server's file systems."""
        return _loaded(cls, path)

    @property
    def history(self) -> NoReturn:
        """Not to be had here: the protocol does not carry it."""
        raise SparkDLError(
            "the history of a fit does not travel over Spark Connect ML: save the model, and read history.json in its "
            "folder by spark.read.text"
        )

    @property
    def network(self) -> NoReturn:
        """Not to be had here: the protocol does not carry it."""
        raise SparkDLError(
            "a network does not travel over Spark Connect ML: save the model, and load it by sparkdl where torch is "
            "installed"
        )


class TorchModel(HasOutputs, _NetworkModel):
    """The model of TorchEstimator: each output of the network is a column, named by predictionCol or outputCols."""


class TorchClassificationModel(HasClassColumns, _NetworkModel):
    """The model of TorchClassifier: it adds `rawPredictionCol`, `probabilityCol` and `predictionCol`."""

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return int(self._call_java("numClasses"))

    @property
    def numFeatures(self) -> int:
        """Numbers of a row that go into the network."""
        return int(self._call_java("numFeatures"))


class TorchRegressionModel(_NetworkModel):
    """The model of TorchRegressor: it adds `predictionCol`."""

    @property
    def numFeatures(self) -> int:
        """Numbers of a row that go into the network."""
        return int(self._call_java("numFeatures"))


class TorchEstimator(EstimatorParams, _TrainingStage):
    """Trains any network by any loss, on several ranks of the server's cluster.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given.
    """

    def _create_model(self, java_model: Any) -> TorchModel:
        return TorchModel(java_model)


class TorchClassifier(ClassifierParams, _TrainingStage):
    """Trains a network that tells classes apart, on several ranks of the server's cluster.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given.
    """

    def _create_model(self, java_model: Any) -> TorchClassificationModel:
        return TorchClassificationModel(java_model)


class TorchRegressor(RegressorParams, _TrainingStage):
    """Trains a network that predicts a number, on several ranks of the server's cluster.

    Parameters
    ----------
    **settings
        Params by name, as listed below. `module` must be given.
    """

    def _create_model(self, java_model: Any) -> TorchRegressionModel:
        return TorchRegressionModel(java_model)


def _taken(param: Param[Any], value: Any) -> Any:
    """Return a value as its Param takes it, whether a program gives it or the server."""
    if not isinstance(param, Setting) or value is None:
        return value
    if param.secret:
        raise SettingError(
            f"invalid {param.name}: Spark Connect ML has no way to carry a secret: give the server's processes the "
            "credentials, by their environment or their file system's own settings"
        )
    if param.kind.annotation in _PLAIN:
        return value
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if _holds_object(value):
        raise SettingError(invalid(param.name, value, _ANEW))
    return value


def _text(param: Param[Any], value: Any) -> Any:
    """Return what travels: the value itself, or the text of its JSON."""
    if not isinstance(param, Setting) or param.kind.annotation in _PLAIN:
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise SettingError(invalid(param.name, value, _CARRIED)) from None
    return value if isinstance(value, str) and not _means_more(value) else text


def _means_more(text: str) -> bool:
    """Whether the server takes a text for JSON."""
    if text.lstrip()[:1] in ("{", "["):
        return True
    try:
        return json.loads(text) is not None
    except ValueError:
        return False


def _holds_object(value: Any) -> bool:
    """Whether a value holds what was saved of a class, a function or a network."""
    if isinstance(value, dict):
        return _OBJECT in value or any(map(_holds_object, value.values()))
    return isinstance(value, list) and any(map(_holds_object, value))


def _check_remote(stage: Any) -> None:
    if not is_remote():
        name = type(stage).__name__
        raise ClusterError(
            f"sparkdl.connect.{name} needs a session of Spark Connect, this one has a JVM of its own: use "
            f"sparkdl.{name}, or SparkSession.builder.remote('sc://...')"
        )


def _loaded(cls: type[S], path: str) -> S:
    _check_remote(cls())
    with _one_sentence():
        loaded: S = cls.read().load(path)
        return loaded


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Raise what the server's part of sparkdl says, without the stack of the server."""
    try:
        yield
    except PySparkException as error:
        said = str(error)
        if found := _REFUSED.search(said):
            raise SparkDLError(found[1].strip()) from error
        if found := _UNKNOWN.search(said):
            raise ClusterError(
                f"this server does not know {found[1]}: start it with --jars and the jar of sparkdl, and --conf "
                "spark.connect.ml.backend.classes=sparkdl.connect.SparkDLPlugin"
            ) from error
        raise
