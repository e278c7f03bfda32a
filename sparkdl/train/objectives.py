"""What is minimised: losses by name, class or function, one value for each row, weighted and summed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from sparkdl.errors import DataError, NetworkError, SettingError, did_you_mean
from sparkdl.train.config import Named, TrainConfig
from sparkdl.train.losses import CLASS_FUNCTIONS, CLASS_LOSSES, LOSSES
from sparkdl.train.optim import signature_of


@dataclass(frozen=True)
class _RowLoss:
    """A loss that has not been averaged over rows.

    Attributes
    ----------
    name : str
        For error messages.
    function : callable
        (output, target) -> (n,), (n, ...) or a scalar, which is the mean of the rows.
    takes_classes : bool
        Whether the target is int64 (n,) class indices.
    numeric : bool
        Whether an integer target has to become a floating one.
    class_weight : Tensor or None
        That `function` multiplies in by itself.
    ignored : int or None
        The class index whose rows do not count.
    by_logits : bool
        Cross entropy without parameters: one logit makes it binary.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    takes_classes: bool = False
    numeric: bool = False
    class_weight: Tensor | None = None
    ignored: int | None = None
    by_logits: bool = False


class Objective:
    """The weighted sum of the losses of a batch, and the sum of its weights.

    The mean loss over any set of rows is the sum of the first over the sum of the second. Class weights count as
    row weights do, as in torch: the weighted sum over the sum of the weights.

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
        if count > 1 and any("weight" in p or "ignore_index" in p for p in params):
            raise SettingError("lossParams with 'weight' or 'ignore_index' works with one loss only: leave it out")
        self._losses = [_row_loss(loss, p, weights, device) for loss, p in zip(config.losses, params, strict=True)]
        self._shares = config.loss_weights
        self._class_weight = None if weights is None else weights.to(device)

    def __call__(
        self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...], weights: Tensor | None
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

        Raises
        ------
        NetworkError
            Outputs, labels and losses do not fit each other.
        DataError
            A label is outside of the classes.
        """
        if len(outputs) != len(targets):
            raise NetworkError(f"the network returns {len(outputs)} outputs for {len(targets)} labels: they must agree")
        if len(self._losses) not in (1, len(outputs)):
            raise SettingError(
                f"there are {len(self._losses)} losses for {len(outputs)} outputs: give one, or one for each"
            )
        if len(outputs) == 1:
            share = self._shares[0] if self._shares else 1.0
            total, weight = self._single(self._losses[0], outputs[0], targets[0], weights)
            return (total if share == 1.0 else total * share), weight
        shares = self._shares or (1.0,) * len(outputs)
        losses = self._losses * len(outputs) if len(self._losses) == 1 else self._losses
        if len(shares) != len(outputs):
            raise SettingError(f"lossWeights has {len(shares)} entries for {len(outputs)} outputs: give one for each")
        total = torch.zeros((), device=outputs[0].device)
        for loss, output, target, share in zip(losses, outputs, targets, shares, strict=True):
            part, weight = self._single(loss, output, target, weights)
            total = total + share * part
        return total, weight

    def _single(
        self, loss: _RowLoss, output: Tensor, target: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        loss, target = fit_target(loss, output, target)
        factor, inside = self._factor(loss, target)
        outer = weights if factor is None or inside else (factor if weights is None else weights * factor)
        counted = outer if factor is None or not inside else (factor if weights is None else weights * factor)
        total = _weighted_sum(loss, _evaluated(loss, output, target), outer, len(output))
        return total, float(len(output)) if counted is None else counted.sum(dtype=torch.float64)

    def _factor(self, loss: _RowLoss, target: Tensor) -> tuple[Tensor | None, bool]:
        """Return what a row counts for by its class, (n,), and whether the loss has it multiplied in already."""
        if loss.takes_classes and not target.is_floating_point():
            if loss.class_weight is None and loss.ignored is None:
                return None, True
            counts = torch.ones_like(target, dtype=torch.float32)
            if loss.class_weight is not None:
                counts = loss.class_weight[target.clamp(0, len(loss.class_weight) - 1)]
            if loss.ignored is not None:
                counts = counts * (target != loss.ignored)
            return (counts.flatten(1).mean(1) if counts.dim() > 1 else counts), True
        if self._class_weight is None:
            return None, False
        return self._class_weight[target.reshape(len(target)).long()], False


def as_outputs(value: Any) -> tuple[Tensor, ...]:
    """Return what a network returned (a Tensor, a tuple or list, or a dict in its order) as a tuple of Tensors.

    Raises
    ------
    NetworkError
        It is anything else.
    """
    if isinstance(value, Tensor):
        return (value,)
    members = tuple(value.values()) if isinstance(value, Mapping) else value
    if isinstance(members, tuple | list) and members and all(isinstance(member, Tensor) for member in members):
        return tuple(members)
    raise NetworkError(
        f"the network returned {type(value).__name__}: it must return a Tensor, or a tuple or dict of them"
    )


def fit_target(loss: _RowLoss, output: Tensor, target: Tensor) -> tuple[_RowLoss, Tensor]:
    """Return the target in the shape and dtype that the loss wants beside this output, and the loss to take.

    Cross entropy of one logit is that of a binary classifier.
    """
    rows = len(target)
    if output.dim() == 0 or len(output) != rows:
        raise NetworkError(
            f"the network returned {tuple(output.shape)} for {rows} rows: its first dimension must be {rows}"
        )
    if loss.by_logits and output.numel() == rows:
        loss = _BINARY
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


def _class_target(loss: _RowLoss, output: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point() and target.shape == output.shape and output.shape[1] > 1:
        return target
    wanted = (len(output), *output.shape[2:])
    if output.dim() < 2 or output.shape[1] < 2 or target.numel() != torch.Size(wanted).numel():
        raise NetworkError(
            f"loss {loss.name}: an output of {tuple(output.shape)} does not fit class labels of {tuple(target.shape)}; "
            "give the last layer one number for each class"
        )
    return target.reshape(wanted).long()


def _evaluated(loss: _RowLoss, output: Tensor, target: Tensor) -> Tensor:
    try:
        values = loss.function(output, target)
    except IndexError as error:
        if not loss.takes_classes or target.is_floating_point():
            raise
        low, high, classes = int(target.min()), int(target.max()), output.shape[1]
        raise DataError(
            f"class labels reach from {low} to {high}, the network has {classes} outputs: "
            f"labels must be 0 to {classes - 1}"
        ) from error
    if not isinstance(values, Tensor):
        raise NetworkError(
            f"loss {loss.name} returned {type(values).__name__}: it must return a Tensor, one value for each row"
        )
    return values


def _weighted_sum(loss: _RowLoss, values: Tensor, weights: Tensor | None, rows: int) -> Tensor:
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
        return values.sum() if values.dim() == 1 else values.sum() * (rows / max(1, values.numel()))
    per_row = values if values.dim() == 1 else values.flatten(1).mean(1)
    return (per_row * weights).sum()


def _row_loss(loss: Named, params: Mapping[str, Any], class_weights: Tensor | None, device: torch.device) -> _RowLoss:
    if isinstance(loss, str):
        kind: Any = LOSSES.get(loss)
        if kind is None:
            raise SettingError(f"loss={loss!r} is not known: {did_you_mean(loss, LOSSES)}")
        return _of_class(loss, kind, params, class_weights, device)
    if isinstance(loss, type):
        return _of_class(loss.__name__, loss, params, class_weights, device)
    if isinstance(loss, _Loss):
        if params:
            raise SettingError(
                f"lossParams has no effect on a {type(loss).__name__} that exists already: give the class as loss, or "
                "leave lossParams out"
            )
        unreduced = copy.deepcopy(loss).to(device)
        unreduced.reduction = "none"
        return _described(type(loss).__name__, unreduced, "")
    if not callable(loss):
        raise SettingError(f"loss={loss!r} is no name, no loss class and no function(output, target)")
    function: Callable[..., Tensor] = loss
    name = getattr(loss, "__name__", type(loss).__name__)
    if params:
        return _RowLoss(name, lambda output, target: function(output, target, **params), loss in CLASS_FUNCTIONS)
    return _RowLoss(name, function, loss in CLASS_FUNCTIONS)


def _of_class(
    name: str, kind: Any, params: Mapping[str, Any], class_weights: Tensor | None, device: torch.device
) -> _RowLoss:
    tensors = {k: torch.tensor(v, dtype=torch.float32) if isinstance(v, list | tuple) else v for k, v in params.items()}
    given = dict(tensors)
    weighs_classes = issubclass(kind, nn.CrossEntropyLoss | nn.NLLLoss)
    if class_weights is not None and weighs_classes:
        if "weight" in given:
            raise SettingError("classWeights and lossParams['weight'] say the same thing: give one of them")
        given["weight"] = class_weights
    try:
        if "reduction" in signature_of(kind):
            given["reduction"] = "none"
        made = kind(**given)
    except (TypeError, ValueError) as error:
        raise SettingError(f"loss {name} does not take lossParams={dict(params)!r}: {error}") from error
    if isinstance(made, nn.Module):
        made = made.to(device)
    return _described(name, made, "" if params else name)


def _described(name: str, made: Any, plain: str) -> _RowLoss:
    weighs_classes = isinstance(made, nn.CrossEntropyLoss | nn.NLLLoss)
    ignored = getattr(made, "ignore_index", -100) if weighs_classes else -100
    return _RowLoss(
        name,
        made,
        takes_classes=isinstance(made, CLASS_LOSSES),
        numeric=isinstance(made, _Loss) and not isinstance(made, nn.MultiLabelMarginLoss),
        class_weight=made.weight if weighs_classes else None,
        ignored=None if ignored == -100 else ignored,
        by_logits=plain == "cross_entropy",
    )


_BINARY = _described("bce_with_logits", nn.BCEWithLogitsLoss(reduction="none"), "")
