"""MLflow as a listener to a fit: one run for each fit, owned by the driver. The only module that imports mlflow.

The run is named by its id in every call, never by MLflow's notion of the active run, so that several fits may run
at once in threads (``CrossValidator(parallelism=2)``). The ranks know nothing of MLflow and need no credentials.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sparkdl.errors import SettingError
from sparkdl.events import EpochEnded, Event, FitEnded, Listener, TrainingStarted
from sparkdl.spark.causes import cause_of
from sparkdl.tracking.names import MetricNames
from sparkdl.tracking.outbox import Outbox, RefusedError
from sparkdl.tracking.params import as_text
from sparkdl.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from pyspark.sql import DataFrame

MODES = ("auto", "true", "false")
MODEL_NAME = "model"
FIGURE_NAME = "history.png"
EXAMPLE_ROWS = 5
"""Rows of the input example that is kept with a model."""

_FIT_TAG = "sparkdl.fit"
"""Holds the uid of the estimator."""
_MODEL_DATA = "sparkml"
_LOADER = "sparkdl.tracking.pyfunc"
_PATIENCE, _AFTERWARDS = 30.0, 600.0
"""Seconds for what waits at the end of a fit: while it waits too, and in the background."""
_REFUSALS = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST", "RESOURCE_DOES_NOT_EXIST"})
_REQUIREMENTS = ("pyspark", "torch", "numpy", "pandas", "pyarrow", "petastorm")


def open_tracking(
    mode: str | bool, params: Mapping[str, Any], run_name: str = "", *, alone: bool = True
) -> Tracking | None:
    """Begin an MLflow run for a fit, or return None where none is wanted.

    Parameters
    ----------
    mode : str or bool
        The Param `mlflow`. "true": always. "false": never. "auto": when there is an active run, or a tracking URI
        is set (by `mlflow.set_tracking_uri`, MLFLOW_TRACKING_URI or Databricks).
    params : mapping of str to object
        Params of the estimator as they are set; those that are secret are left out here.
    run_name : str
        Usually the uid of the estimator.
    alone : bool
        Whether the fit is none of a search: then a run that MLflow's autologging has opened for it is the one.

    Raises
    ------
    SettingError
        For another mode; for "true" where mlflow is not installed or its store cannot be reached. With "auto" a
        store that cannot be reached is a warning.
    """
    wanted = str(mode).lower()
    if wanted not in MODES:
        raise SettingError(f"mlflow={mode!r} is no mode of tracking: use one of {', '.join(MODES)}")
    if wanted == "false" or (wanted == "auto" and not _is_in_use()):
        return None
    if util.find_spec("mlflow") is None:
        raise SettingError('mlflow="true" needs MLflow on the driver: pip install mlflow')
    try:
        return Tracking(params, run_name, alone=alone)
    except Exception as error:
        sentence = f"MLflow has opened no run at {_tracking_uri()}: {cause_of(error)}"
        if wanted == "true":
            raise SettingError(f'{sentence}; correct the tracking URI, or set mlflow="false"') from error
        warnings.warn(f"{sentence}; this fit is not tracked", stacklevel=2)
        return None


@dataclass(frozen=True)
class _End:
    """The last of what is sent to a run."""

    status: str


class Tracking(Listener):
    """One run of MLflow: params, a metric for each epoch, the figure of the history, and the model.

    Attributes
    ----------
    run_id : str
        The run's id.
    """

    def __init__(self, params: Mapping[str, Any], run_name: str = "", *, alone: bool = True) -> None:
        import mlflow
        from mlflow.entities import Param
        from mlflow.tracking.context.registry import resolve_tags

        self._client = mlflow.MlflowClient()
        parent = _parent_run()
        run = self._client.get_run(parent) if parent else None
        self._is_adopted = run is not None and alone and _is_autologged(run)
        if run is None or not self._is_adopted:
            experiment = run.info.experiment_id if run else _experiment_id()
            tags = resolve_tags({"mlflow.parentRunId": parent} if parent else None)
            run = self._client.create_run(experiment, tags=tags, run_name=run_name or None)
        self.run_id: str = run.info.run_id
        self._client.set_tag(self.run_id, _FIT_TAG, run_name)
        self._last_epoch = 0
        self._status: str | None = None
        self._closed = False
        self._names = MetricNames()
        self._outbox: Outbox[Any] = Outbox(self._send)
        # A param has one value for ever, and autologging words some in another way.
        pairs = [Param(name, text) for name, text in as_text(params).items() if name not in run.data.params]
        # MLflow's stores take at most 100 params in one call.
        for start in range(0, len(pairs), 100):
            self._client.log_batch(self.run_id, params=pairs[start : start + 100])

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self._last_epoch = event.epoch
            self._log_metrics({k: v for k, v in event.logs.items() if k != "epoch"}, event.epoch)
        elif isinstance(event, TrainingStarted):
            self._set_tags({"ranks": event.size, "device": event.device, "rows": event.rows_per_epoch})
        elif isinstance(event, FitEnded):
            self._log_metrics({f"seconds_{k}": v for k, v in event.seconds.items()}, self._last_epoch)
            if event.error is not None:
                self.fail(event.error)

    def log_model(self, model: Any, dataset: DataFrame | pd.DataFrame) -> None:
        """Keep the model with its signature, an input example, and the figure of its history, with the run.

        What MLflow refuses is a warning: hours of training are not lost for it.

        Parameters
        ----------
        model : TorchModel
            The result of the fit.
        dataset : DataFrame of Spark or pandas
            Rows like those it was trained on; the first 5 become the input example.
        """
        for what, step in ((FIGURE_NAME, self._log_figure), ("the model", self._log_model)):
            try:
                step(model, dataset)
            except Exception as error:
                warnings.warn(f"MLflow run {self.run_id} goes without {what}: {cause_of(error)}", stacklevel=2)

    def fail(self, error: BaseException | str) -> None:
        """Let the run end as FAILED (KILLED after Ctrl-C) with the error's sentence as its tag; safe to call twice.

        It never raises, so that the error of the fit is the one that the user sees.
        """
        if self._status is None:
            self._status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._set_tags({"error": cause_of(error)})

    def close(self) -> None:
        """Send what waits, and end the run as FINISHED unless it has failed; safe to call twice.

        What a store does not take within 30 seconds is tried for ten minutes more in the background.
        """
        if self._closed:
            return
        self._closed = True
        if not self._is_adopted:
            self._outbox.put([_End(self._status or "FINISHED")])
        waiting = self._outbox.close(_PATIENCE, _AFTERWARDS)
        if waiting or self._outbox.lost:
            problem = cause_of(self._outbox.problem or "")
            later = f"{waiting} are tried for {_AFTERWARDS:g} s more, " if waiting else ""
            warnings.warn(
                f"MLflow run {self.run_id} lacks {waiting + self._outbox.lost} values, {later}{problem}", stacklevel=2
            )

    def _set_tags(self, tags: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._outbox.put([RunTag(f"sparkdl.{name}", str(value)) for name, value in tags.items()])

    def _log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        # What a callback adds to the history may be no number.
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, Real)}
        self._outbox.put([Metric(self._names.of(name), value, now, step) for name, value in numbers.items()])

    def _send(self, items: Sequence[Any]) -> None:
        from mlflow.entities import Metric, RunTag
        from mlflow.exceptions import MlflowException

        metrics = [item for item in items if isinstance(item, Metric)]
        tags = [item for item in items if isinstance(item, RunTag)]
        try:
            if metrics or tags:
                self._client.log_batch(self.run_id, metrics=metrics, tags=tags)
            for item in items:
                if isinstance(item, _End):
                    self._client.set_terminated(self.run_id, item.status)
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise RefusedError(str(error)) from error
            raise

    def _log_figure(self, model: Any, dataset: Any) -> None:
        self._client.log_figure(self.run_id, model.plotHistory(), FIGURE_NAME)

    def _log_model(self, model: Any, dataset: DataFrame | pd.DataFrame) -> None:
        from mlflow.models import Model, infer_signature

        from sparkdl.persistence import trusted
        from sparkdl.tracking.directory import load_pipeline, write_pipeline
        from sparkdl.tracking.pyfunc import Predictor

        with TemporaryDirectory(prefix="sparkdl-mlflow-") as folder:
            data = write_pipeline(model, Path(folder) / _MODEL_DATA)
            # Pickled code in these files is the caller's own, it has just been written.
            with trusted():
                scorer = load_pipeline(data)
            example = _first_rows(dataset, scorer.input_columns)
            signature = infer_signature(example, Predictor(scorer).predict(example)) if len(example) else None
            Model.log(
                None,
                flavor=_Flavor,
                name=MODEL_NAME,
                run_id=self.run_id,
                step=self._last_epoch,
                flavor_name="sparkdl",
                data=data,
                example=example if len(example) else None,
                signature=signature,
                # The example's predictions have just been asked for; asking again in a server's way takes seconds.
                validate_serving_input=False,
            )


class _Flavor:
    """What `mlflow.models.Model.log` asks of a flavor's module.

    One directory serves both flavors, "spark" and "python_function". mlflow.spark's own python_function starts a Spark
    session to predict; ours reads the same files with torch alone.
    """

    @staticmethod
    def save_model(
        path: str, mlflow_model: Any, data: Path, example: Any, signature: Any, validate_serving_input: bool
    ) -> None:
        from mlflow import pyfunc

        from sparkdl.tracking.directory import PIPELINE_CLASS

        mlflow_model.add_flavor(
            "spark",
            pyspark_version=version("pyspark"),
            model_data=f"data/{data.name}",
            model_class=PIPELINE_CLASS,
            code=None,
        )
        pyfunc.save_model(
            path,
            loader_module=_LOADER,
            data_path=str(data),
            mlflow_model=mlflow_model,
            signature=signature,
            input_example=example,
            pip_requirements=_requirements(),
        )


def _first_rows(dataset: DataFrame | pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return a few rows without nulls of the columns that the model reads, as values that JSON knows."""
    import pandas as pd

    from sparkdl.tracking.pyfunc import plain_values

    if isinstance(dataset, pd.DataFrame):
        rows = dataset[list(columns)].dropna().head(EXAMPLE_ROWS)
    else:
        quoted = ["`" + name.replace("`", "``") + "`" for name in columns]
        # Not dropna: it does not find names with dots.
        whole = " and ".join(f"{name} is not null" for name in quoted)
        rows = dataset.select(quoted).filter(whole).limit(EXAMPLE_ROWS).toPandas()
    return plain_values(rows)


def _requirements() -> list[str]:
    """Return what a process needs to load the model, in the versions of this one."""
    found = [f"sparkdl-torch=={__version__}"]
    for name in _REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def _is_in_use() -> bool:
    """Tell whether the user has set MLflow up, without importing it for those who have not."""
    if any(os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DATABRICKS_RUNTIME_VERSION")):
        return util.find_spec("mlflow") is not None
    if "mlflow" not in sys.modules:
        return False
    import mlflow

    return bool(mlflow.is_tracking_uri_set()) or _parent_run() is not None


def _parent_run() -> str | None:
    """Return the id of the active run: this thread's, or the only one there is, or that of `mlflow run`.

    MLflow's active run belongs to a thread; `CrossValidator(parallelism=2)` fits in other threads than the one
    in which the user has begun a run.
    """
    import mlflow
    from mlflow.tracking import fluent

    active = mlflow.active_run()
    if active is not None:
        return str(active.info.run_id)
    stacks = fluent._active_run_stack.get_all_thread_values().values()
    others = {run.info.run_id for stack in stacks for run in stack[-1:]}
    return str(others.pop()) if len(others) == 1 else os.environ.get("MLFLOW_RUN_ID")


def _is_autologged(run: Run) -> bool:
    """Tell whether MLflow's autologging writes the fit that begins into this run, and no other fit is in it yet."""
    if _FIT_TAG in run.data.tags:
        return False
    session = getattr(sys.modules.get("mlflow.pyspark.ml"), "_SparkTrainingSession", None)
    return run.data.tags.get("mlflow.autologging") == "pyspark.ml" or (session is not None and session.is_active())


def _experiment_id() -> str:
    """Return the experiment that the user has set, or the default one."""
    from mlflow.tracking import fluent

    return str(fluent._get_experiment_id())


def _tracking_uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())
