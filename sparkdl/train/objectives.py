"""What is minimised: losses by name, class or function, one value for each row, weighted and summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparkdl.errors import DataError, NetworkError, SettingError
from sparkdl.train.config import TrainConfig
from sparkdl.train.indices import Classes
from sparkdl.train.row_loss import RowLoss, binary, row_loss


class Objective:
    """The losses of a batch, each with the sum of its weights.

    The mean of a loss over any set of rows is the sum of weight x loss over the sum of the weights. Class weights
    count as row weights do, as in torch, and a label that the loss ignores counts for nothing. With several losses
    each is divided by its own weights.

    Parameters
    ----------
    config : TrainConfig
        losses, loss_params, loss_weights, class_weights.
    device : torch.device
        Where the outputs are.

    Raises
    ------
    SettingError
        A name is unknown, parameters do not fit, or settings contradict each other.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        count = len(config.losses)
        params = config.loss_params or ({},) * count
        if len(params) != count:
            raise SettingError(f"lossParams has {len(params)} entries for {count} losses: give one for each")
        weights = None if config.class_weights is None else torch.tensor(config.class_weights, dtype=torch.float32)
        if weights is not None and count > 1:
            raise SettingError("classWeights belongs to one loss, there are several: leave it out")
        self._losses = [row_loss(loss, p, weights, device) for loss, p in zip(config.losses, params, strict=True)]
        self._shares = config.loss_weights
        self._class_weight = None if weights is None else weights.to(device)
        self._classes: dict[int, Classes | None] = {}
        self._weigh = any(loss.class_weight is not None or loss.ignored is not None for loss in self._losses)

    def __call__(
        self,
        outputs: tuple[Tensor, ...],
        targets: tuple[Tensor, ...],
        weights: Tensor | None,
        ratios: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | float]:
        """Return the sum of weight x loss over the rows, a scalar with a gradient, and the sum of the weights.

        Parameters
        ----------
        outputs : tuple of Tensor
            What the network returned, each (n, ...).
        targets : tuple of Tensor
            As many, each (n, ...).
        weights : Tensor or None
            (n,); None for all 1.
        ratios : Tensor or None
            What `ratios` has returned for the step to which these rows belong; None: they are all of it.

        Raises
        ------
        NetworkError
            Outputs, labels and losses do not fit each other.
        DataError
            A label is outside of the classes.
        """
        sums = self.sums(outputs, targets, weights)
        shares = self._shares or (1.0,) * len(sums)
        if len(sums) == 1:
            total, weight = sums[0]
            return (total if shares[0] == 1.0 else total * shares[0]), weight
        if ratios is None and self.needs_ratios(targets):
            ratios = self.ratios(self.weights(outputs, targets, weights))
        total = torch.zeros((), device=outputs[0].device)
        for index, ((part, _), share) in enumerate(zip(sums, shares, strict=True)):
            total = total + (share if ratios is None else share * ratios[index]) * part
        rows = _weight_of(outputs[0], weights)
        return total, rows if ratios is None else rows * (ratios > 0).any()

    def sums(
        self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...], weights: Tensor | None
    ) -> list[tuple[Tensor, Tensor | float]]:
        """Return of each output the sum of weight x loss, and that of the weights; as `__call__` takes and raises."""
        each = zip(self._matched(outputs, targets), outputs, targets, strict=True)
        return [self._single(number, *given, weights) for number, given in enumerate(each)]

    def check(self, targets: Sequence[Tensor]) -> None:
        """Raise DataError if a label is none of the classes, which are known where labels were evaluated before.

        For labels on the CPU, before they go to a GPU: there the process would end.
        """
        for number, classes in self._classes.items():
            if classes is not None:
                classes.check(targets[number])

    def needs_ratios(self, targets: Sequence[Tensor]) -> bool:
        """Return whether there are several losses of which some may weigh a row in its own way."""
        return self._weigh and len(targets) > 1

    def mean(self, sums: Sequence[Sequence[float]]) -> float:
        """Return the mean loss of rows whose `sums` were added up; NaN where none of them counted."""
        counted = [
            share * total / weight
            for share, (total, weight) in zip(self._shares or (1.0,) * len(sums), sums, strict=True)
            if weight > 0
        ]
        return sum(counted) if counted else float("nan")

    @torch.no_grad()
    def weights(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...], weights: Tensor | None) -> Tensor:
        """Return the sum of the weights of each loss, and last that of the rows: (losses + 1,) float64.

        Parameters
        ----------
        outputs : tuple of Tensor
            Of any rows: their shapes tell how the labels are meant.
        targets, weights
            As `__call__` takes them.
        """
        found: list[Tensor | float] = []
        each = zip(self._matched(outputs, targets), outputs, targets, strict=True)
        for number, (loss, output, target) in enumerate(each):
            shaped = output.new_empty(()).expand(len(target), *output.shape[1:])
            factor, _ = self._factor(*self._fitted(number, loss, shaped, target))
            found.append(_weight_of(target, _both(weights, factor)))
        found.append(_weight_of(targets[0], weights))
        return torch.stack([torch.as_tensor(n, dtype=torch.float64, device=targets[0].device) for n in found])

    def ratios(self, weights: Tensor) -> Tensor:
        """Return what each loss is multiplied with so that it is divided by its own weights; from `weights`, summed."""
        own, rows = weights[:-1], weights[-1]
        return torch.where(own > 0, rows / own, torch.zeros_like(own)).to(torch.float32)

    def _matched(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> list[RowLoss]:
        if len(outputs) != len(targets):
            raise NetworkError(f"the network returns {len(outputs)} outputs for {len(targets)} labels: they must agree")
        if len(self._losses) not in (1, len(outputs)):
            raise SettingError(
                f"there are {len(self._losses)} losses for {len(outputs)} outputs: give one, or one for each"
            )
        if self._shares and len(self._shares) != len(outputs):
            raise SettingError(
                f"lossWeights has {len(self._shares)} entries for {len(outputs)} outputs: give one for each"
            )
        return self._losses if len(self._losses) == len(outputs) else self._losses * len(outputs)

    def _single(
        self, number: int, loss: RowLoss, output: Tensor, target: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        loss, target = self._fitted(number, loss, output, target)
        try:
            factor, inside = self._factor(loss, target)
            values = _evaluated(loss, output, target)
        except (IndexError, RuntimeError) as error:
            classes = None if target.is_cuda else self._classes[number]
            said = None if classes is None else classes.wrong(target)
            if said is None:
                raise
            raise DataError(said) from error
        counted = _both(weights, factor)
        total = _weighted_sum(loss, values, weights if inside else counted, len(output))
        return total, _weight_of(output, counted)

    def _fitted(self, number: int, loss: RowLoss, output: Tensor, target: Tensor) -> tuple[RowLoss, Tensor]:
        """Return what `fit_target` does, and look which classes there are when it is the first time."""
        loss, target = fit_target(loss, output, target)
        if number not in self._classes:
            self._classes[number] = classes = self._classes_of(loss, output, target)
            if classes is not None and target.is_cuda:
                classes.check(target)
        return loss, target

    def _classes_of(self, loss: RowLoss, output: Tensor, target: Tensor) -> Classes | None:
        if loss.takes_classes:
            count = output.shape[1]
            known = not target.is_floating_point()
            return Classes(count, loss.ignored, f"the network has {count} outputs") if known else None
        if self._class_weight is None:
            return None
        count = len(self._class_weight)
        return Classes(count, loss.ignored, f"classWeights has {count} entries", from_zero=False)

    def _factor(self, loss: RowLoss, target: Tensor) -> tuple[Tensor | None, bool]:
        """Return what a row counts for by its class, (n,), and whether the loss has it multiplied in already."""
        if loss.takes_classes and target.is_floating_point():
            return None, True
        if loss.takes_classes and (loss.class_weight is not None or loss.ignored is not None):
            counts = target != loss.ignored if loss.ignored is not None else torch.ones_like(target, dtype=torch.bool)
            if loss.class_weight is not None:
                counts = loss.class_weight[target.clamp(0, len(loss.class_weight) - 1)] * counts
            return (counts.flatten(1).float().mean(1) if counts.dim() > 1 else counts), True
        if self._class_weight is None and loss.ignored is None:
            return None, False
        classes = target.reshape(len(target)).long()
        factor = torch.ones(len(target), device=target.device)
        if self._class_weight is not None:
            factor = self._class_weight[classes.clamp(min=0)]
        return (factor if loss.ignored is None else factor * (classes != loss.ignored)), False


def as_outputs(value: Any, labels: Sequence[str] = ()) -> tuple[Tensor, ...]:
    """Return what a network returned (a Tensor, a tuple or list, or a dict) as a tuple of Tensors.

    A dict whose keys are the names of the labels comes in their order, another one in its own.

    Raises
    ------
    NetworkError
        It is anything else.
    """
    if isinstance(value, Tensor):
        return (value,)
    members = value
    if isinstance(value, Mapping):
        named = len(value) == len(labels) and value.keys() == set(labels)
        members = tuple(value[name] for name in labels) if named else tuple(value.values())
    if isinstance(members, tuple | list) and members and all(isinstance(member, Tensor) for member in members):
        return tuple(members)
    raise NetworkError(
        f"the network returned {type(value).__name__}: it must return a Tensor, or a tuple or dict of them"
    )


def fit_target(loss: RowLoss, output: Tensor, target: Tensor) -> tuple[RowLoss, Tensor]:
    """Return the target in the shape and dtype that the loss wants beside this output, and the loss to take.

    Cross entropy of one logit is that of a binary classifier.
    """
    rows = len(target)
    if output.dim() == 0 or len(output) != rows:
        raise NetworkError(
            f"the network returned {tuple(output.shape)} for {rows} rows: its first dimension must be {rows}"
        )
    if loss.by_logits and output.numel() == rows:
        loss = binary(loss)
    if loss.takes_classes:
        return loss, _class_target(loss, output, target)
    if target.shape != output.shape:
        if target.numel() == output.numel():
            target = target.reshape(output.shape)
        elif loss.numeric:
            raise NetworkError(
                f"loss {loss.name}: an output of {tuple(output.shape)} does not fit a label of {tuple(target.shape)}; "
                "give the last layer as many numbers as the label has"
            )
        elif target.numel() == rows and not target.is_floating_point():
            target = target.reshape(rows)
    return loss, target.to(output.dtype) if loss.numeric and target.dtype != output.dtype else target


def _class_target(loss: RowLoss, output: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point() and target.shape == output.shape and output.shape[1] > 1:
        return target
    wanted = (len(output), *output.shape[2:])
    if output.dim() < 2 or output.shape[1] < 2 or target.numel() != torch.Size(wanted).numel():
        raise NetworkError(
            f"loss {loss.name}: an output of {tuple(output.shape)} does not fit class labels of {tuple(target.shape)}; "
            "give the last layer one number for each class"
        )
    return target.reshape(wanted).long()


def _evaluated(loss: RowLoss, output: Tensor, target: Tensor) -> Tensor:
    values = loss.function(output, target)
    if not isinstance(values, Tensor):
        raise NetworkError(
            f"loss {loss.name} returned {type(values).__name__}: it must return a Tensor, one value for each row"
        )
    return values


def _weighted_sum(loss: RowLoss, values: Tensor, weights: Tensor | None, rows: int) -> Tensor:
    if values.dim() == 0:
        if weights is not None:
            raise SettingError(
                f"loss {loss.name} returns one number for a whole batch, so weightCol and classWeights "
                "cannot take effect: let it return one value for each row"
            )
        return values * rows
    if len(values) != rows:
        raise NetworkError(
            f"loss {loss.name} returned {tuple(values.shape)} for {rows} rows: one value for each row is needed"
        )
    if weights is None:
        if values.dim() == 1 or loss.adds_up:
            return values.sum()
        return values.sum() * (rows / max(1, values.numel()))
    if values.dim() > 1:
        values = values.flatten(1).sum(1) if loss.adds_up else values.flatten(1).mean(1)
    return (values * weights).sum()


def _both(weights: Tensor | None, factor: Tensor | None) -> Tensor | None:
    if weights is None or factor is None:
        return weights if factor is None else factor
    return weights * factor


def _weight_of(rows: Tensor, weights: Tensor | None) -> Tensor | float:
    return float(len(rows)) if weights is None else weights.sum(dtype=torch.float64)
