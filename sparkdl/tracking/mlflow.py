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
from importlib import util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sparkdl.errors import SettingError
from sparkdl.events import EpochEnded, Event, FitEnded, Listener, TrainingStarted
from sparkdl.tracking.params import as_text
from sparkdl.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

MODES = ("auto", "true", "false")
MODEL_NAME = "model"
FIGURE_NAME = "history.png"
ERROR_TAG = "sparkdl.error"
EXAMPLE_ROWS = 5
"""Rows of the input example that is kept with a model."""

_MODEL_DATA = "sparkml"
_LOADER = "sparkdl.tracking.pyfunc"
_REQUIREMENTS = ("pyspark", "torch", "numpy", "pandas", "pyarrow", "petastorm")


def open_tracking(mode: str | bool, params: Mapping[str, Any], run_name: str = "") -> Tracking | None:
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
        return Tracking(params, run_name)
    except Exception as error:
        sentence = f"MLflow has opened no run at {_tracking_uri()}: {_one_line(error)}"
        if wanted == "true":
            raise SettingError(f'{sentence}; correct the tracking URI, or set mlflow="false"') from error
        warnings.warn(f"{sentence}; this fit is not tracked", stacklevel=2)
        return None


class Tracking(Listener):
    """One run of MLflow: params, a metric for each epoch, the figure of the history, and the model.

    Attributes
    ----------
    run_id : str
        The run's id.
    """

    def __init__(self, params: Mapping[str, Any], run_name: str = "") -> None:
        import mlflow
        from mlflow.entities import Param
        from mlflow.tracking.context.registry import resolve_tags

        self._client = mlflow.MlflowClient()
        parent = _parent_run()
        experiment = self._client.get_run(parent).info.experiment_id if parent else _experiment_id()
        tags = resolve_tags({"mlflow.parentRunId": parent} if parent else None)
        run = self._client.create_run(experiment, tags=tags, run_name=run_name or None)
        self.run_id: str = run.info.run_id
        self._last_epoch = 0
        self._ended = False
        pairs = [Param(name, text) for name, text in as_text(params).items()]
        # MLflow's stores take at most 100 params in one call.
        for start in range(0, len(pairs), 100):
            self._client.log_batch(self.run_id, params=pairs[start : start + 100])

    def on_event(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self._last_epoch = event.epoch
            self._log_metrics({k: v for k, v in event.logs.items() if k != "epoch"}, event.epoch)
        elif isinstance(event, TrainingStarted):
            for name, value in (("ranks", event.size), ("device", event.device), ("rows", event.rows_per_epoch)):
                self._client.set_tag(self.run_id, f"sparkdl.{name}", value)
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
                warnings.warn(f"MLflow run {self.run_id} goes without {what}: {_one_line(error)}", stacklevel=2)

    def fail(self, error: BaseException | str) -> None:
        """End the run as FAILED (KILLED after Ctrl-C) with the error's sentence as its tag; safe to call twice.

        It never raises, so that the error of the fit is the one that the user sees.
        """
        if self._ended:
            return
        self._ended = True
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        try:
            self._client.set_tag(self.run_id, ERROR_TAG, _one_line(error))
            self._client.set_terminated(self.run_id, status)
        except Exception as broken:
            warnings.warn(f"MLflow run {self.run_id} was not ended: {_one_line(broken)}", stacklevel=2)

    def close(self) -> None:
        """End the run as FINISHED unless it has failed; safe to call twice."""
        if not self._ended:
            self._ended = True
            self._client.set_terminated(self.run_id, "FINISHED")

    def _log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

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


def _experiment_id() -> str:
    """Return the experiment that the user has set, or the default one."""
    from mlflow.tracking import fluent

    return str(fluent._get_experiment_id())


def _tracking_uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())


def _one_line(error: BaseException | str) -> str:
    """Return the error's sentence: the first line of what it says, or its kind where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
