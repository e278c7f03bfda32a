"""Trained networks as Spark ML models: what all tasks share, and the model of TorchEstimator."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.ml import Model
from pyspark.ml.param import Param, Params
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType
from torch import nn

from sparkdl.data.types import type_of
from sparkdl.errors import PersistenceError, SettingError
from sparkdl.network import Reference
from sparkdl.network.check import layer_shapes
from sparkdl.network.copies import copied
from sparkdl.network.registry import find
from sparkdl.network.values import decode, encode
from sparkdl.params.columns import HasInputs, HasOutputs, HasPrediction
from sparkdl.params.roles import names_params
from sparkdl.params.scoring import HasScoring
from sparkdl.persistence import Savable, read_network, read_stage, trusted, write_network
from sparkdl.persistence.checked import checked_extra, checked_history, checked_schema, checked_shapes
from sparkdl.persistence.reading import read_json, read_object, reading
from sparkdl.schema import TIMESTAMP, DataSchema
from sparkdl.scoring.inputs import bound_inputs
from sparkdl.scoring.local import LocalScorer
from sparkdl.scoring.outputs import GenericHead, Head, Shape, column_for
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.scoring.ship import pack, send
from sparkdl.scoring.transform import add_columns, added_fields
from sparkdl.spark.frame import session_of
from sparkdl.spark.session import case_sensitive, session_zone
from sparkdl.train.history import History

if TYPE_CHECKING:
    import os
    from typing import Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame

_HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class Trained:
    """What a model holds besides its Params.

    Attributes
    ----------
    network : nn.Module
        On the CPU.
    reference : Reference
        How it was made.
    schema : DataSchema
        Of its inputs, shapes known.
    outputs : tuple of tuple of int
        For each of its outputs the shape of one row.
    history : History
    extra : mapping
        What a task adds; JSON values. "fill_value" and "pad_value" are those of the training, as is "time_zone", that
        of the session, where an input is a timestamp; "best_epoch" is that of early stopping.
    """

    network: nn.Module
    reference: Reference
    schema: DataSchema
    outputs: tuple[Shape, ...]
    history: History
    extra: Mapping[str, Any] = field(default_factory=dict)


class NetworkModel(HasInputs, HasPrediction, HasScoring, Savable, Model):
    """A trained network as a Transformer; a task adds what it makes of the outputs (`_head`)."""

    def __init__(self) -> None:
        super().__init__()
        self._trained: Trained | None = None
        self.fitSeconds: dict[str, float] = {}
        """Seconds of each phase of the fit that made this model; empty after `load`."""

    @classmethod
    def _create(
        cls,
        network: nn.Module,
        reference: Reference,
        schema: DataSchema,
        outputs: Iterable[Shape],
        history: Iterable[Mapping[str, float]] = (),
        **extra: Any,
    ) -> Self:
        """Return the model of a trained network.

        Parameters
        ----------
        network : nn.Module
            With its trained weights, on the CPU; from here on the model's own.
        reference : Reference
            As `network.resolve` gave it.
        schema : DataSchema
            Of the training, shapes known; labels and weight are left out.
        outputs : iterable of tuple of int
            As `network.check` returned them.
        history : iterable of mapping
            One for each epoch.
        **extra
            JSON values that the task's model needs; None values are left out.
        """
        model = cls()
        network.eval()
        if any(TIMESTAMP in field.types for field in schema.inputs):
            extra = {"time_zone": session_zone(), **extra}
        kept = {name: value for name, value in extra.items() if value is not None}
        shapes = tuple(tuple(shape) for shape in outputs)
        rows = History([dict(row) for row in history], kept.get("best_epoch"))
        model._trained = Trained(network, reference, schema.inputs_only(), shapes, rows, kept)
        return model

    @classmethod
    def fromCheckpoint(
        cls,
        url: str,
        storageOptions: Mapping[str, Any] | None = None,
        step: int | None = None,
        trusted: bool = False,
    ) -> Self:
        """Make a model of a checkpoint: the one that the fit would have returned, had it ended there.

        Parameters
        ----------
        url : str
            A `checkpointUrl` with one job, or the folder of a job in it; opened by this process, without Spark.
        storageOptions : mapping, optional
            For its file system.
        step : int, optional
            Which of the checkpoints, by the steps that were taken; the last one by default.
        trusted : bool
            As of `load`.

        Raises
        ------
        PersistenceError
            There is no checkpoint, it is damaged, or it is that of another kind of model.
        """
        from sparkdl.estimators.from_checkpoint import model_of

        return model_of(cls, url, storageOptions, step, trusted)

    def _follow(self, estimator: Params) -> Self:
        """Take the columns of the estimator that has trained this model, and its uid; not how rows are scored."""
        for param in self.params:
            if param.name in _SCORING or not estimator.hasParam(param.name):
                continue
            if estimator.isSet(param.name):
                self._set(**{param.name: estimator.getOrDefault(param.name)})
        self._resetUid(estimator.uid)
        return self

    @property
    def network(self) -> nn.Module:
        """The trained network, on the CPU."""
        return self._state.network

    @property
    def history(self) -> History:
        """What the fit has measured: a dict for each epoch; ``toPandas()`` makes a table of it."""
        return self._state.history

    @property
    def numFeatures(self) -> int:
        """Numbers of a row that go into the network, over all inputs."""
        return sum(field.size for field in self._state.schema.inputs if not type_of(field).derived)

    def plotHistory(self, ax: Axes | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw loss and metrics over the epochs; also into a file if `path` is given."""
        return self.history.plot(ax, path)

    def exportModel(self, path: str | os.PathLike[str], format: str = "onnx") -> None:
        """Write the network into a file for other programs; it is kept only if it computes what the network does.

        Parameters
        ----------
        path : str or PathLike
            On this machine; refused where something is there.
        format : str
            "onnx" (needs the extra ``sparkdl-torch[export]``), "torchscript" or "pt2". Each takes (rows, ...) tensors,
            any number of rows, and returns the network's outputs: for a classifier its logits.

        Raises
        ------
        SettingError, PersistenceError, NetworkError
            As `sparkdl.export.export_network` says.
        """
        # torch's exporters are slow to import, and few need them.
        from sparkdl.export import export_network

        export_network(self.network, self._state.schema, path, format)

    def __repr__(self) -> str:
        if self._trained is None:
            return str(self.uid)
        facts = {"uid": self.uid, **self._facts()}
        return f"{type(self).__name__}: " + ", ".join(f"{name}={value}" for name, value in facts.items())

    def _facts(self) -> dict[str, str]:
        state = self._trained
        if state is None:
            return {}
        inputs = [f"{field.name}{list(field.shape)}" for field in state.schema.inputs]
        return {
            "inputs": " + ".join(inputs),
            "outputs": " + ".join(str(list(shape) or [1]) for shape in state.outputs),
            "parameters": f"{sum(parameter.numel() for parameter in state.network.parameters()):,}",
            "device": self.getDevice(),
        }

    @abstractmethod
    def _head(self) -> Head:
        """Return what becomes of the network's outputs, by the present Params."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        session_of("transform", dataset)
        plan = self._plan(dataset.schema)
        return add_columns(dataset, plan, self._send, pack=lambda: pack(self.network))

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema of what `transform` returns for a DataFrame of this one, or raise what it would raise."""
        sensitive = case_sensitive(SparkSession.getActiveSession())
        return StructType([*schema.fields, *added_fields(self._plan(schema).columns, schema, sensitive)])

    @property
    def _state(self) -> Trained:
        if self._trained is None:
            raise SettingError(f"this {type(self).__name__} holds no network: make it by fit or by load")
        return self._trained

    def _extra(self, name: str) -> Any:
        return self._state.extra.get(name)

    def _send(self, spark: Any) -> str:
        return send(spark, self.network)

    def _input_columns(self) -> list[tuple[str, ...]]:
        inputs, stacked = self.getInputCols(), self.getFeaturesCols()
        if inputs is not None:
            return [(name,) for name in inputs]
        return [tuple(stacked)] if stacked is not None else [(self.getFeaturesCol(),)]

    @names_params
    def _plan(self, schema: StructType | None) -> ScoringPlan:
        """Return how rows are scored; the columns' types are those of the training where no schema is given."""
        state = self._state
        bound = bound_inputs(state.schema.inputs, self._input_columns(), schema)
        layers: dict[str, str] = self.getOutputLayers()
        shapes = layer_shapes(state.network, state.schema, list(layers)) if layers else {}
        settings = ScorerSettings(self.getBatchSize(), self.getDevice(), self.getPrecision(), tuple(layers))
        inner = tuple(column_for(column, shapes[layer]) for layer, column in layers.items())
        return ScoringPlan(
            bound,
            self._head(),
            inner,
            settings,
            self.getHandleInvalid(),
            self._extra("fill_value"),
            self._extra("pad_value"),
        )

    def _local(self) -> LocalScorer:
        """Return what scores rows in this process, without Spark."""
        # The scorer moves its network to its device; the model's own stays where it is.
        network = copied(self.network)
        return LocalScorer(network, self._plan(None), self._extra("time_zone"))

    def _write_parts(self, folder: Path) -> dict[str, Any]:
        state = self._state
        write_network(state.network, state.reference, folder)
        write_history(state.history, folder)
        return self._about()

    def _about(self) -> dict[str, Any]:
        """Return what the metadata say of the network."""
        state = self._state
        return {
            "schema": state.schema.to_json(),
            "outputs": [list(shape) for shape in state.outputs],
            "extra": encode(dict(state.extra), "extra"),
        }

    def _read_parts(self, folder: Path, metadata: dict[str, Any]) -> None:
        schema, extra = checked_schema(metadata["schema"]), checked_extra(decode(metadata["extra"]))
        network = read_network(folder, schema)
        self._trained = Trained(
            network.module.eval(),
            network.reference,
            schema,
            checked_shapes(metadata["outputs"]),
            History(checked_history(decode(read_json(folder / _HISTORY_FILE))), extra.get("best_epoch")),
            extra,
        )


def write_history(rows: Iterable[Mapping[str, float]], folder: Path) -> None:
    """Write a history into the folder of a model."""
    encoded = encode([dict(row) for row in rows], "history")
    (folder / _HISTORY_FILE).write_text(json.dumps(encoded, allow_nan=False))


class TorchModel(HasOutputs, NetworkModel):
    """The model of TorchEstimator: each output of the network is a column, named by predictionCol or outputCols."""

    __module__ = "sparkdl"

    def _head(self) -> Head:
        names = self.getOutputCols()
        return GenericHead((self.getPredictionCol(),) if names is None else tuple(names), self._state.outputs)


_SCORING = frozenset(name for name in dir(HasScoring) if isinstance(getattr(HasScoring, name), Param))


def load_local(path: str | os.PathLike[str], trust: bool = False) -> LocalScorer:
    """Load a model from a local folder for rows in this process, without a Spark session.

    Parameters
    ----------
    path : str or PathLike
        As `save` has written it.
    trust : bool
        As `trusted` of `load`.

    Raises
    ------
    PersistenceError
        If it holds no model of sparkdl's, or one whose class is not known here.
    """
    folder = Path(path)
    with trusted() if trust else nullcontext():
        stage = read_stage(model_class(folder, str(folder)), folder, str(folder))
        with reading(str(folder)):
            return stage._local()


def model_class(folder: Path, shown: str) -> type[NetworkModel]:
    """Return the class of the model that was saved in a local folder, which messages call `shown`."""
    import sparkdl

    with reading(shown):
        name = str(read_object(folder / "metadata" / "part-00000").get("class"))
        module, _, qualified = name.rpartition(".")
        found = getattr(sparkdl, qualified, None) if module == "sparkdl" else find(f"{module}:{qualified}")
        if not (isinstance(found, type) and issubclass(found, NetworkModel)):
            raise PersistenceError(f"there is a {name}, which is no model of sparkdl's that is known here")
        return found
