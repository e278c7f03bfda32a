"""One loss as the objective takes it: not averaged over rows, made of a name, a class, an object or a function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from sparkdl.errors import SettingError, did_you_mean
from sparkdl.train.config import Named
from sparkdl.train.losses import CLASS_FUNCTIONS, CLASS_LOSSES, LOSSES, ignored_class
from sparkdl.train.optim import signature_of

_MEAN, _BATCH_MEAN = "mean", "batchmean"
_BINARY = nn.BCEWithLogitsLoss(reduction="none")
_SAYS_THE_SAME = "classWeights and {} say the same thing: give one of them"


@dataclass(frozen=True)
class RowLoss:
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
        The class index whose labels do not count.
    by_logits : bool
        Cross entropy without parameters: one logit makes it binary.
    adds_up : bool
        Whether the values of a row are added up, in place of their mean: torch's "batchmean".
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    takes_classes: bool = False
    numeric: bool = False
    class_weight: Tensor | None = None
    ignored: int | None = None
    by_logits: bool = False
    adds_up: bool = False


def row_loss(loss: Named, params: Mapping[str, Any], class_weights: Tensor | None, device: torch.device) -> RowLoss:
    """Return the loss that a setting stands for.

    Parameters
    ----------
    loss : str, type, nn.Module or callable
        A name, a torch loss class, an object of one, or function(output, target).
    params : mapping
        Its keyword arguments.
    class_weights : Tensor or None
        One for each class; taken in by losses that weigh classes themselves.
    device : torch.device

    Raises
    ------
    SettingError
        The name is unknown, the parameters do not fit, or its reduction is none that a step can take.
    """
    if isinstance(loss, str):
        kind: Any = LOSSES.get(loss)
        if kind is None:
            raise SettingError(f"loss={loss!r} is not known: {did_you_mean(loss, LOSSES)}")
        return _of_class(loss, kind, params, class_weights, device)
    if isinstance(loss, type):
        return _of_class(loss.__name__, loss, params, class_weights, device)
    if isinstance(loss, _Loss):
        return _of_object(loss, params, class_weights, device)
    if not callable(loss):
        raise SettingError(f"loss={loss!r} is no name, no loss class and no function(output, target)")
    name = getattr(loss, "__name__", type(loss).__name__)
    function: Callable[..., Any] = loss
    if getattr(loss, "__module__", "") == functional.__name__ and "reduction" in signature_of(loss):
        return _of_torchs_function(name, function, params, class_weights, device)
    return RowLoss(name, partial(function, **params) if params else function)


def binary(loss: RowLoss) -> RowLoss:
    """Return cross entropy of one logit."""
    return RowLoss("bce_with_logits", _BINARY, numeric=True, ignored=loss.ignored)


def _of_class(
    name: str, kind: Any, params: Mapping[str, Any], class_weights: Tensor | None, device: torch.device
) -> RowLoss:
    given = _tensors(params)
    if class_weights is not None and issubclass(kind, nn.CrossEntropyLoss | nn.NLLLoss):
        if "weight" in given:
            raise SettingError(_SAYS_THE_SAME.format("lossParams['weight']"))
        given["weight"] = class_weights
    try:
        if "reduction" in signature_of(kind):
            given["reduction"] = "none"
        made = kind(**given)
    except (TypeError, ValueError) as error:
        raise SettingError(f"loss {name} does not take lossParams={dict(params)!r}: {error}") from error
    if isinstance(made, nn.Module):
        made = made.to(device)
    return _described(name, made, params.get("reduction", _MEAN), by_logits=name == "cross_entropy" and not params)


def _of_object(loss: _Loss, params: Mapping[str, Any], class_weights: Tensor | None, device: torch.device) -> RowLoss:
    name = type(loss).__name__
    if params:
        raise SettingError(
            f"lossParams has no effect on a {name} that exists already: give the class as loss, or leave lossParams out"
        )
    made = copy.deepcopy(loss).to(device)
    if class_weights is not None and isinstance(made, nn.CrossEntropyLoss | nn.NLLLoss):
        if made.weight is not None:
            raise SettingError(_SAYS_THE_SAME.format(f"the weight of {name}"))
        made.weight = class_weights.to(device)
    return _described(name, made, _MEAN)


def _of_torchs_function(
    name: str,
    function: Callable[..., Any],
    params: Mapping[str, Any],
    class_weights: Tensor | None,
    device: torch.device,
) -> RowLoss:
    given = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in _tensors(params).items()}
    ignored = ignored_class(function, params)
    if ignored is not None and class_weights is not None:
        if given.get("weight") is not None:
            raise SettingError(_SAYS_THE_SAME.format("lossParams['weight']"))
        given["weight"] = class_weights.to(device)
    return RowLoss(
        name,
        partial(function, **{**given, "reduction": "none"}),
        takes_classes=function in CLASS_FUNCTIONS,
        class_weight=None if ignored is None else given.get("weight"),
        ignored=ignored,
        adds_up=_adds_up(name, given.get("reduction", _MEAN), function is functional.kl_div),
    )


def _described(name: str, made: Any, reduction: Any, *, by_logits: bool = False) -> RowLoss:
    if isinstance(made, _Loss):
        # Also that of the arguments by which torch said it before: size_average, reduce.
        reduction = made.reduction if made.reduction != "none" else reduction
        made.reduction = "none"
    weighs_classes = isinstance(made, nn.CrossEntropyLoss | nn.NLLLoss)
    return RowLoss(
        name,
        made,
        takes_classes=isinstance(made, CLASS_LOSSES),
        numeric=isinstance(made, _Loss) and not isinstance(made, nn.MultiLabelMarginLoss),
        class_weight=made.weight if weighs_classes else None,
        ignored=int(made.ignore_index) if weighs_classes else None,
        by_logits=by_logits,
        adds_up=_adds_up(name, reduction, isinstance(made, nn.KLDivLoss)),
    )


def _adds_up(name: str, reduction: Any, has_batch_mean: bool) -> bool:
    """Return whether a reduction adds up the values of a row; refuse one that is no mean over rows."""
    known = (_MEAN, "none", *([_BATCH_MEAN] if has_batch_mean else []))
    if reduction not in known:
        raise SettingError(
            f"invalid reduction={reduction!r} of loss {name}: expected {' or '.join(map(repr, known))}, because a step "
            "learns from the mean over its rows, however many they are: leave it out, and scale learningRate instead"
        )
    return bool(reduction == _BATCH_MEAN)


def _tensors(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: torch.tensor(value, dtype=torch.float32) if isinstance(value, list | tuple) else value
        for name, value in params.items()
    }
