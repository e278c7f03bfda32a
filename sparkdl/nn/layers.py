"""Activations by name, and the fully connected layers that several networks end with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from sparkdl.errors import NetworkError, did_you_mean, invalid

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_layer(name: str) -> nn.Module:
    """Return a new activation layer.

    Raises
    ------
    NetworkError
        Names the activations that there are.
    """
    kind = ACTIVATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise NetworkError(f"activation={name!r} is not known: {did_you_mean(str(name), ACTIVATIONS)}")
    return kind()


def dense_layers(inputs: int, outputs: int, hidden: Sequence[int], dropout: float, activation: str) -> list[nn.Module]:
    """Return linear layers through the widths `hidden`, an activation (and dropout) after each but the last."""
    layers: list[nn.Module] = []
    width = inputs
    for following in hidden:
        layers += [nn.Linear(width, following), activation_layer(activation)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = following
    return [*layers, nn.Linear(width, outputs)]


def whole_number(name: str, value: Any) -> int:
    """Return a size as an int; JSON may have made it a float.

    Raises
    ------
    NetworkError
        It is no positive whole number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value != int(value) or value < 1:
        raise NetworkError(invalid(name, value, "an integer >= 1"))
    return int(value)


def whole_numbers(name: str, values: Any) -> list[int]:
    """Return sizes as a list of int; one number stands for a list of one."""
    if isinstance(values, int | float):
        values = [values]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise NetworkError(invalid(name, values, "a list of integers >= 1"))
    return [whole_number(f"each of {name}", value) for value in values]


def checked_dropout(dropout: float) -> float:
    """Return the share of units to drop.

    Raises
    ------
    NetworkError
        It lies outside of [0, 1).
    """
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise NetworkError(invalid("dropout", dropout, "a number >= 0 and < 1"))
    return float(dropout)


def output_size(name: str, outputs: int | None, params: Mapping[str, Any]) -> int:
    """Return the size of the output, the caller's own figure first.

    Raises
    ------
    NetworkError
        Nobody has said it.
    """
    given = params.get("outputs", outputs)
    if given is None:
        raise NetworkError(f"the size of {name}'s output does not follow from the data: give moduleParams['outputs']")
    return whole_number("outputs", given)
