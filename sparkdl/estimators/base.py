"""Estimators that train a network on ranks: what all tasks share."""

from __future__ import annotations

import io
import os
import time
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pyspark.ml import Estimator
from pyspark.ml.base import _FitMultipleIterator
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType
from torch import nn

from sparkdl.cluster.driver.launch import launch
from sparkdl.cluster.driver.pickling import check_sendable
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.prefork.prewarm import prewarm
from sparkdl.cluster.spool.ingest import Ingest
from sparkdl.cluster.task.environment import visible_gpus
from sparkdl.data.write import check_fill, check_folder, check_validation_column, declared_sizes, schema_of
from sparkdl.errors import NetworkError
from sparkdl.estimators.from_checkpoint import outline
from sparkdl.estimators.model import NetworkModel
from sparkdl.fitting.checkpoints import checkpoints_of, rows_identity, until_done
from sparkdl.fitting.config import config_of, measuring_plan_of, plan_of, seed_of
from sparkdl.fitting.known import Checked, Foreseen, Prepared, sent_to_ranks
from sparkdl.fitting.labels import by_label, check_labels
from sparkdl.fitting.report import FitReport, report_of
from sparkdl.fitting.result_store import result_folder
from sparkdl.fitting.shared_dataset import RowsWanted, SharedRows
from sparkdl.network import check, resolve
from sparkdl.params.roles import inputs_of, labels_of, names_params, weight_of
from sparkdl.params.stages import TrainingParams
from sparkdl.persistence import Savable
from sparkdl.preflight.backend import choose_backend
from sparkdl.preflight.checkpoints import check_checkpoints
from sparkdl.preflight.cluster import check_cluster
from sparkdl.preflight.dry_run import Shapes, check_names, check_task, dry_run, measured_by, network_before_rows
from sparkdl.preflight.gpus import check_gpus, will_have_gpus
from sparkdl.preflight.network import check_batch, check_steps
from sparkdl.preflight.packages import check_packages
from sparkdl.preflight.rows import check_rows
from sparkdl.preflight.settings import check_settings
from sparkdl.scoring.outputs import Head
from sparkdl.scoring.transform import added_fields
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.frame import session_of
from sparkdl.spark.python_memory import check_python_memory
from sparkdl.spark.session import case_sensitive
from sparkdl.train.weights import load_weights

if TYPE_CHECKING:
    from typing import Self

    from pyspark.ml._typing import ParamMap
    from pyspark.sql import DataFrame

    from sparkdl.data.write import Dataset
    from sparkdl.schema import DataSchema
    from sparkdl.train.checkpoint.config import CheckpointConfig
    from sparkdl.train.config import TrainConfig

M = TypeVar("M", bound=NetworkModel)

_WORK = "sparkdl.worker:fit"
_TAKE_IN = "sparkdl.data.direct.spooling:ingest_rows"


class TrainingStage(TrainingParams, Savable, Estimator[M]):
    """An estimator whose network is trained on ranks; a task says what it minimises and which model comes out."""

    _task = "generic"
    _loss = "mse"
    _metrics: tuple[str, ...] = ()
    _varied: ParamMap = {}  # What the last `copy` has changed: a search copies its estimator for each fit.

    def copy(self, extra: ParamMap | None = None) -> Self:
        """Return a copy of the same uid, with the Params of `extra`."""
        made = super().copy(extra)
        if extra:
            made._varied = dict(extra)
        return made

    def _fit(self, dataset: DataFrame) -> M:
        checked = self._check(dataset, SessionFacts.read(session_of("fit", dataset)))
        return self._fit_rows(dataset, SharedRows(dataset, [checked.rows], checked.facts), checked)

    def fitMultiple(self, dataset: DataFrame, paramMaps: Sequence[ParamMap]) -> Iterator[tuple[int, M]]:
        """Fit a model for each ParamMap; those that agree on the rows share one writing of them.

        The iterator may be used by several threads. The rows are gone when their last model is done, when a fit
        fails, and when the iterator is dropped.
        """
        facts = SessionFacts.read(session_of("fitMultiple", dataset))
        stages = [self.copy(each) for each in paramMaps]
        checked = [stage._check(dataset, facts) for stage in stages]
        shared = SharedRows(dataset, [each.rows for each in checked], facts)

        def fit_one(index: int) -> M:
            return stages[index]._fit_rows(dataset, shared, checked[index], (index + 1, len(stages)))

        models = _FitMultipleIterator(fit_one, len(stages))
        weakref.finalize(models, shared.close)
        return models

    def _fit_rows(
        self, frame: DataFrame, shared: SharedRows, checked: Checked, number: tuple[int, int] | None = None
    ) -> M:
        with report_of(self, frame, checked.seconds, number, self._varied) as report:
            report.notice(checked.backend.notice)
            prewarm(frame.sparkSession, checked.facts, _WORK)
            report.phase("materialize")
            with shared.use(checked.rows) as rows:
                report.phase("check")
                prepared = self._prepare(frame, rows)
                prepared.work["checkpoints"] = self._checkpoints(
                    prepared, rows_identity(checked.rows, rows), frame.schema, report.alone
                )
                report.phase("start")
                trained = self._launch(frame, checked, prepared, rows, report)
            report.phase("build")
            model = self._build(prepared, trained, frame.schema)
            report.keep(model, frame)
        model.fitSeconds = dict(report.seconds)
        return model

    def _check(self, frame: DataFrame, facts: SessionFacts) -> Checked:
        """Refuse what settings, columns, packages and cluster already show; return what goes on from there."""
        began = time.monotonic()
        ranks, resources = self.getNumProcs(), self.getTaskResources()
        foreseen = self._foresee(frame.schema, facts.case_sensitive)
        check_sendable(sent_to_ranks(self, foreseen.module))
        device, visible = self.getDevice(), visible_gpus(os.environ)
        gpus = will_have_gpus(facts, ranks, device=device, visible=visible, resources=resources)
        backend = choose_backend(facts, self.getBackend(), ranks, gpus=gpus)
        check_packages()
        check_python_memory(frame.sparkSession)
        check_cluster(frame.sparkSession, facts, ranks, resources)
        check_gpus(facts, ranks, device=device, precision=self.getPrecision(), visible=visible, resources=resources)
        check_checkpoints(self, facts, gpus=gpus)
        wanted = until_done(self, foreseen.wanted, facts)
        if self.getFeed() != "direct":
            check_folder(facts, wanted.cache_url, self.getStorageOptions())
        return Checked(facts, wanted, backend, time.monotonic() - began)

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema of what the model's `transform` will return for a DataFrame of this one.

        What `fit` refuses by settings, columns and their metadata is refused. Where only the rows tell the sizes of
        the inputs, the outputs of TorchEstimator's network are taken to have as many dimensions as the labels.
        """
        sensitive = case_sensitive(SparkSession.getActiveSession())
        foreseen = self._foresee(schema, sensitive)
        head = self._head(foreseen.wanted.schema, foreseen.outputs)
        return StructType([*schema.fields, *added_fields(head.columns(), schema, sensitive)])

    @names_params
    def _foresee(self, columns: StructType, case_sensitive: bool) -> Foreseen:
        """Refuse what settings, columns and their metadata show; try the network as far as these tell."""
        config = self._config()
        check_settings(self, columns.names, measured_by(config), case_sensitive=case_sensitive)
        check_task(config)
        check_names(self.getModule(), self.getModuleParams(), config)
        schema = schema_of(
            columns,
            inputs=[(name, tuple(group)) for name, group in inputs_of(self)],
            labels=labels_of(self),
            weight=weight_of(self),
            case_sensitive=case_sensitive,
            masks=self.getPadMask(),
            sparse=self.getSparseTensors(),
        )
        held = self.getValidationIndicatorCol()
        if held:
            check_validation_column(columns, held, case_sensitive)
        check_fill(schema, self.getFillValue(), self.getPadValue())
        module, outputs = self._try(config, schema, columns, declared_sizes(columns, schema, case_sensitive))
        wanted = RowsWanted(
            schema=schema,
            count_classes=tuple(self._counted()),
            validation_column=held,
            validation_fraction=self.getValidationFraction(),
            seed=seed_of(self) if self.getValidationFraction() else 0,
            fill_value=self.getFillValue(),
            pad_value=self.getPadValue(),
            cache_url=self.getCacheUrl(),
            storage_options=self.getStorageOptions(),
            feed=self.getFeed(),
        )
        return Foreseen(wanted, module, outputs)

    def _try(
        self, config: TrainConfig, schema: DataSchema, columns: StructType, sizes: Mapping[str, int]
    ) -> tuple[nn.Module | None, Shapes | None]:
        """Make the network and try it; `sizes` are what the metadata say, which the rows have yet to show."""
        schema = schema.resolved({name: (size,) for name, size in sizes.items()})
        config = self._declared(config, schema, columns)
        try:
            module, tried = network_before_rows(
                self.getModule(),
                self.getModuleParams(),
                schema,
                lambda known: self._output_size(config, known),
                seed_of(self),
            )
            if module is None:
                return None, None
            _, outputs = self._dry_run(config, module, tried)
        except NetworkError as error:
            if not sizes:
                raise
            said = {f.columns[0]: sizes[f.name] for f in schema.fields if f.name in sizes}
            shown = ", ".join(f"column {column!r} has {size} numbers a row" for column, size in said.items())
            raise NetworkError(f"{error} (by its metadata, {shown})") from error.__cause__
        check_batch(self, module)
        # A network by name was made for sizes of its own where the schema does not tell all.
        known = not isinstance(self.getModule(), str) or all(field.known for field in schema.fields)
        return module, outputs if known else None

    def _dry_run(self, config: TrainConfig, module: nn.Module, schema: DataSchema) -> tuple[TrainConfig, Shapes | None]:
        """Send zeros through network and loss, as far as shapes are known; return what goes with the outputs."""
        outputs = check(module, schema) if all(field.known for field in schema.inputs) else None
        if outputs is not None:
            config = self._fitting(config, schema, outputs)
        dry_run(module, config, schema, None if outputs is None else by_label(outputs, schema.labels))
        return config, outputs

    @names_params
    def _prepare(self, frame: DataFrame, rows: Dataset) -> Prepared:
        """Refuse what the rows show; make the network and try it."""
        train, validation = rows.train, rows.validation
        check_rows(self, train, validation)
        config = self._settled(self._config(), rows, frame.schema)
        schema = train.schema
        network = resolve(
            self.getModule(), self.getModuleParams(), schema, self._output_size(config, schema), seed_of(self)
        )
        config, outputs = self._dry_run(config, network.module, schema)
        assert outputs is not None
        check_labels(config, by_label(outputs, schema.labels), train, validation)
        plan = plan_of(self, train)
        check_steps(self, network.module, plan)
        work = {
            "module": network.module,
            "config": config,
            "train": (train, plan),
            "validation": None if validation is None else (validation, measuring_plan_of(self, validation)),
            "storage_options": self.getStorageOptions(),
        }
        return Prepared(network, config, schema, outputs, work)

    def _launch(
        self, frame: DataFrame, checked: Checked, prepared: Prepared, rows: Dataset, report: FitReport
    ) -> dict[str, Any]:
        spark, facts, blocks = frame.sparkSession, checked.facts, rows.blocks
        ranks = Ranks(
            self.getNumProcs(),
            backend=checked.backend.name,
            device=self.getDevice(),
            start_timeout=self.getStartTimeout(),
            heartbeat_timeout=self.getHeartbeatTimeout(),
            task_resources=self.getTaskResources(),
        )
        with result_folder(
            spark, facts, prepared.network.module, self.getCacheUrl(), self.getStorageOptions()
        ) as folder:
            launched = launch(
                spark,
                facts,
                _WORK,
                prepared.work,
                ranks,
                listener=report,
                max_restarts=self.getMaxRestarts(),
                min_procs=self.getMinProcs(),
                result_folder=folder,
                ingest=None if blocks is None else Ingest(blocks.frame, blocks.by, _TAKE_IN, blocks.arguments),
            )
        trained: dict[str, Any] = launched.value
        seconds, epochs = trained["seconds"]["total"], len(trained["history"])
        report.trained(seconds, launched.seconds.get("spool"), epochs, trained["best_epoch"])
        return trained

    def _checkpoints(
        self, prepared: Prepared, rows: list[Any], columns: StructType, alone: bool
    ) -> CheckpointConfig | None:
        if not self.getCheckpointUrl():
            return None
        splits = [prepared.work[name] for name in ("train", "validation") if prepared.work[name] is not None]
        model, constants = outline(self._model_of(prepared, columns))
        module = prepared.network.module
        return checkpoints_of(self, prepared.config, module, splits, rows, model, constants, alone=alone)

    def _build(self, prepared: Prepared, trained: dict[str, Any], columns: StructType) -> M:
        module = prepared.network.module
        load_weights(module, torch.load(io.BytesIO(trained["state"]), weights_only=True))
        return self._model_of(prepared, columns, trained["history"], trained["best_epoch"])

    def _model_of(
        self,
        prepared: Prepared,
        columns: StructType,
        history: Sequence[Mapping[str, float]] = (),
        best_epoch: int | None = None,
    ) -> M:
        """Return the model of the network as it is."""
        model: M = self._model_class()._create(
            prepared.network.module,
            prepared.network.reference,
            prepared.schema,
            prepared.outputs,
            history,
            fill_value=self.getFillValue(),
            pad_value=self.getPadValue(),
            best_epoch=best_epoch,
            **self._extra(prepared, columns),
        )
        return model._follow(self)

    def _config(self) -> TrainConfig:
        return config_of(self, task=self._task, loss=self._loss, metrics=self._metrics)

    @abstractmethod
    def _model_class(self) -> type[M]:
        """Return the class of the model."""

    @abstractmethod
    def _head(self, schema: DataSchema, outputs: Shapes | None) -> Head:
        """Return what the model will make of the network's outputs; None: only the rows tell their shapes."""

    @abstractmethod
    def _output_size(self, config: TrainConfig, schema: DataSchema) -> int | None:
        """Return how many numbers a network by name has to return, None where nobody can tell."""

    @abstractmethod
    def _fitting(self, config: TrainConfig, schema: DataSchema, outputs: Shapes) -> TrainConfig:
        """Refuse outputs that the task cannot use; return the settings that go with them."""

    def _declared(self, config: TrainConfig, schema: DataSchema, columns: StructType) -> TrainConfig:
        """Refuse labels that the task cannot learn by their type; return the settings with what the metadata say."""
        return config

    def _counted(self) -> list[str]:
        """Return the labels whose values are counted."""
        return []

    def _settled(self, config: TrainConfig, rows: Dataset, columns: StructType) -> TrainConfig:
        """Return the settings with what only the rows could say."""
        return config

    def _extra(self, prepared: Prepared, columns: StructType) -> dict[str, Any]:
        """Return what the model needs besides the network; JSON values."""
        return {}
