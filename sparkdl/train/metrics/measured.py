"""Metrics of an epoch, over all ranks: torchmetrics by name, and functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparkdl.blame import in_a_line
from sparkdl.comm.backend import Backend
from sparkdl.errors import DataError, SettingError
from sparkdl.train.config import Named, TrainConfig
from sparkdl.train.losses import ignored_class
from sparkdl.train.metrics.names import Recipe, build, higher_is_better, recipe_of
from sparkdl.train.metrics.rows import STYLES, MetricRows, output_kind
from sparkdl.train.metrics.synchronise import synchronise

if TYPE_CHECKING:
    from torchmetrics import Metric

_FLUSH = {"cpu": (8192, 1 << 20), "cuda": (1 << 17, 1 << 22)}
"""Rows, and numbers in them, that are gathered before torchmetrics sees them: its fixed cost would show in small steps,
and on a GPU it waits until all that was started is done."""

_RESERVED = {"epoch", "loss", "lr", "rows", "seconds", "rows_per_second", "wait_share"}


class MetricSet:
    """The metrics of one split: fed batch by batch on every rank, computed together at the end of an epoch.

    With several outputs each metric is taken of each output, as name_0, name_1, ...; rows of weight 0 are not given to
    it, and other weights have no effect on metrics.

    Parameters
    ----------
    config : TrainConfig
        metrics, losses, num_classes.
    backend : Backend
    device : torch.device
    finite_only : bool
        Whether rows are left out whose outputs are not finite.

    Attributes
    ----------
    reasons : dict of str to str
        Why metrics could not be computed on this rank; they are NaN.

    Raises
    ------
    SettingError
        A name is unknown, or used twice.
    """

    def __init__(
        self, config: TrainConfig, backend: Backend, device: torch.device, *, finite_only: bool = False
    ) -> None:
        self._backend = backend
        self._finite_only = finite_only
        self._device = device
        self._config = config
        self._outputs = max(1, len(config.losses))
        self._recipes = {_name(spec): recipe_of(spec) for spec in config.metrics if not _is_function(spec)}
        self._functions: dict[str, Any] = {_name(spec): spec for spec in config.metrics if _is_function(spec)}
        names = [_name(spec) for spec in config.metrics]
        wrong = next((n for n in names if n in _RESERVED or names.count(n) > 1), None)
        if wrong is not None:
            raise SettingError(f"metrics: the name {wrong!r} is taken already; rename the function or leave one out")
        self._order = names
        self._groups = [
            _OutputMetrics(self._recipes, _rows_of(config, i), device, finite_only) for i in range(self._outputs)
        ]
        self._sums = torch.zeros(self._outputs, len(self._functions), 2, dtype=torch.float64)
        self.reasons: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Names as in the history."""
        return [self._key(name, output) for name in self._order for output in range(self._outputs)]

    def maximise(self, key: str) -> bool | None:
        """Return whether more of a metric is better; None if nobody has said."""
        for name in self._order:
            if key in {self._key(name, output) for output in range(self._outputs)}:
                if name in self._recipes:
                    return higher_is_better(self._recipes[name])
                return getattr(self._functions[name], "higher_is_better", None)
        return None

    def directions(self) -> dict[str, bool | None]:
        """Return of each name whether more of it is better; None if nobody has said."""
        return {name: self.maximise(name) for name in self.names}

    def try_out(self) -> None:
        """Make each metric of torchmetrics once, as for two classes or one number.

        Raises
        ------
        SettingError
            It cannot be made of its name alone, or would keep every row.
        """
        for recipe in self._recipes.values():
            failures: list[SettingError] = []
            styles = STYLES[:3] if recipe.is_classification else STYLES[3:]
            for style in styles:
                try:
                    build(recipe, style, 2 if recipe.is_classification else 1)
                except SettingError as error:
                    failures.append(error)
            if len(failures) == len(styles):
                raise failures[0]

    @torch.no_grad()
    def update(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        """Add a batch of this rank, (n, ...) each."""
        if not self._order or not len(outputs[0]):
            return
        for index, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            output = output.detach()
            if self._recipes:
                self._groups[index].add(output.float(), target)
            if self._functions and self._finite_only:
                output, target = _finite(output, target)
                if not len(output):
                    continue
            for number, function in enumerate(self._functions.values()):
                try:
                    value = float(function(output, _beside(output, target)))
                except (ArithmeticError, ValueError) as error:
                    # As of one class alone, or of one row: another batch may do.
                    self.reasons[self._key(list(self._functions)[number], index)] = in_a_line(error)
                    value = math.nan
                self._sums[index, number] += torch.tensor([value * len(output), len(output)], dtype=torch.float64)

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """Return each metric over the rows of all ranks since the last call, and begin anew. Collective."""
        if not self._order:
            return {}
        values: dict[str, float] = {}
        for index, group in enumerate(self._groups):
            group.finish(self._backend)
            values |= {self._key(name, index): value for name, value in group.values().items()}
            self.reasons |= {self._key(name, index): reason for name, reason in group.reasons.items()}
        if self._functions:
            sums = self._sums.to(self._device)
            self._backend.all_reduce(sums)
            for index in range(self._outputs):
                for number, name in enumerate(self._functions):
                    total, rows = sums[index, number].tolist()
                    values[self._key(name, index)] = total / rows if rows else math.nan
            self._sums.zero_()
        return {name: values[name] for name in self.names}

    def state_dict(self) -> dict[str, Any]:
        """Return what this rank has added since the last `compute`."""
        return {"sums": self._sums, "groups": [group.state_dict() for group in self._groups]}

    def load_state_dict(self, saved: Sequence[Mapping[str, Any]]) -> list[str]:
        """Go on from what `state_dict` of some ranks has returned, all of their rows together.

        Returns
        -------
        list of str
            Metrics that know no way to put the rows of several ranks together before an epoch ends: they go on with
            those of the first one.
        """
        self._sums = sum((each["sums"] for each in saved), torch.zeros_like(self._sums))
        lost: dict[str, None] = {}
        for index, group in enumerate(self._groups):
            names = group.load_state_dict([each["groups"][index] for each in saved])
            lost |= dict.fromkeys(self._key(name, index) for name in names)
        return list(lost)

    def _key(self, name: str, output: int) -> str:
        return name if self._outputs == 1 else f"{name}_{output}"


class _OutputMetrics:
    """torchmetrics of one output. They are made when the width of the output is known, on ranks without rows too."""

    def __init__(
        self, recipes: dict[str, Recipe], rows: MetricRows, device: torch.device, finite_only: bool = False
    ) -> None:
        self._finite_only = finite_only
        self._recipes = recipes
        self._rows = rows
        self.reasons: dict[str, str] = {}
        self._metrics: dict[str, Metric] = {}
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._held = [0, 0]
        self._device = device

    def add(self, output: Tensor, target: Tensor) -> None:
        self._waiting.append((output, target))
        self._held[0] += len(output)
        self._held[1] += output.numel()
        rows, numbers = _FLUSH[self._device.type]
        if self._held[0] >= rows or self._held[1] >= numbers:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        output = torch.cat([o for o, _ in self._waiting]) if len(self._waiting) > 1 else self._waiting[0][0]
        target = torch.cat([t for _, t in self._waiting]) if len(self._waiting) > 1 else self._waiting[0][1]
        self._waiting, self._held = [], [0, 0]
        if self._finite_only:
            output, target = _finite(output, target)
        if not len(output):
            return
        self._rows.look(output, target)
        self._make()
        for name, metric in self._metrics.items():
            prediction, truth = self._rows.rows_for(self._recipes[name].is_classification, output, target)
            if not len(truth):
                continue
            try:
                metric.update(prediction, truth)
            except (RuntimeError, ValueError, IndexError) as error:
                raise DataError(
                    f"metric {name} does not take an output of {tuple(output.shape)} "
                    f"with a label of {tuple(target.shape)}: {error}"
                ) from error

    def _make(self) -> None:
        for name, recipe in self._recipes.items():
            if name not in self._metrics:
                made = build(recipe, STYLES[self._rows.style], self._rows.width)
                self._metrics[name] = made.to(self._device)

    def finish(self, backend: Backend) -> None:
        """Bring the states of all ranks together."""
        self._flush()
        if backend.size == 1:
            return
        agreed = torch.tensor([self._rows.known, self._rows.style, self._rows.width], dtype=torch.float64)
        agreed = (agreed if self._rows.known else torch.zeros_like(agreed)).to(self._device)
        backend.all_reduce(agreed)
        known, style, width = agreed.tolist()
        if known:
            self._rows.settle(int(style / known), int(width / known))
            self._make()
            synchronise(list(self._metrics.values()), backend, self._device)

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self._rows.state_dict(),
            "waiting": list(self._waiting),
            "metrics": {
                name: [metric._update_count, {state: getattr(metric, state) for state in metric._reductions}]
                for name, metric in self._metrics.items()
            },
        }

    def load_state_dict(self, saved: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add the rows of some ranks; return the metrics that have taken those of the first one only."""
        lost: dict[str, None] = {}
        for each in saved:
            self._rows.load_state_dict(each["rows"])
            if self._rows.known:
                self._make()
            for output, target in each["waiting"]:
                self.add(output.to(self._device), target.to(self._device))
            for name, (count, states) in each["metrics"].items():
                if not _add_states(self._metrics[name], count, states):
                    lost[name] = None
        return list(lost)

    def values(self) -> dict[str, float]:
        """Return the values, and forget the rows."""
        values = dict.fromkeys(self._recipes, math.nan)
        for name, metric in self._metrics.items():
            if metric._update_count:
                try:
                    value = metric.compute()
                except Exception as error:
                    # As r2 of one row. Whatever it is, the training is worth more than one number.
                    self.reasons[name], value = in_a_line(error), math.nan
                values[name] = value if isinstance(value, float) else _number(name, value)
            metric.reset()
        return values


def _finite(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows whose outputs are finite."""
    finite = torch.isfinite(output.reshape(len(output), -1)).all(1)
    return output[finite], target[finite]


def _rows_of(config: TrainConfig, index: int) -> MetricRows:
    place = index if index < len(config.losses) else 0
    params = config.loss_params[place] if place < len(config.loss_params) else {}
    return MetricRows(output_kind(config, index), ignored_class(config.losses[place], params))


def _add_states(metric: Metric, count: int, states: Mapping[str, Tensor]) -> bool:
    """Add the rows of another rank to a metric; return False where it has rows already and no sum of both."""
    from torchmetrics.utilities import dim_zero_sum

    first = not metric._update_count
    if count and not first and any(rule is not dim_zero_sum for rule in metric._reductions.values()):
        return False
    if count:
        for name, value in states.items():
            value = value.to(metric.device)
            setattr(metric, name, value.clone() if first else getattr(metric, name) + value)
        metric._update_count += count
    return True


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Tensor):
        raise SettingError(f"metric {name} gives {type(value).__name__}, not one number: take another, or a function")
    return float(value.double().mean()) if value.numel() != 1 else float(value)


def _is_function(spec: Named) -> bool:
    of_torchmetrics = type(spec).__module__.partition(".")[0] == "torchmetrics"
    return callable(spec) and not isinstance(spec, type) and not of_torchmetrics


def _name(spec: Named) -> str:
    if isinstance(spec, str):
        return spec
    return str(getattr(spec, "__name__", type(spec).__name__))


def _beside(output: Tensor, target: Tensor) -> Tensor:
    return target.reshape(output.shape) if target.shape != output.shape and target.numel() == output.numel() else target
