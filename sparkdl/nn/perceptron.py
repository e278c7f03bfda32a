"""`mlp`: fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.nn.layers import checked_dropout, dense_layers, output_size, whole_number, whole_numbers
from sparkdl.nn.sized import SizedModule


class MLP(SizedModule):
    """A multilayer perceptron over everything a row has: (n, ...) inputs are flattened and put side by side.

    Parameters
    ----------
    inputs : int
        Numbers of a row, over all inputs.
    outputs : int
        Width of the output, (n, outputs).
    hidden : sequence of int
        Widths of the hidden layers; empty for a linear model.
    dropout : float
        Share of hidden units to drop while training, in [0, 1).
    activation : str
        After each hidden layer; see `sparkdl.nn.layers.ACTIVATIONS`.

    Raises
    ------
    NetworkError
        If a value cannot work.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.inputs = whole_number("inputs", inputs)
        widths = whole_numbers("hidden", hidden)
        self.layers = nn.Sequential(
            *dense_layers(self.inputs, whole_number("outputs", outputs), widths, checked_dropout(dropout), activation)
        )

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, outputs) for inputs of (n, ...); integers are taken as numbers."""
        rows = [x[:, None] if x.dim() == 1 else x.flatten(1) for x in inputs]
        row = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
        if row.shape[1] != self.inputs:
            raise NetworkError(f"mlp was made for {self.inputs} numbers a row, it got {row.shape[1]}")
        if not row.is_floating_point():
            row = row.to(next(self.parameters()).dtype)
        output: torch.Tensor = self.layers(row)
        return output

    @classmethod
    def sizes(
        cls, input_shapes: Sequence[tuple[int, ...]], outputs: int | None, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return inputs and outputs, for data of any shape."""
        total = sum(math.prod(shape) for shape in input_shapes)
        inputs = whole_number("inputs", params.get("inputs", total))
        if inputs != total:
            raise NetworkError(f"moduleParams['inputs']={inputs} does not fit rows of {total} numbers: leave it out")
        return {"inputs": inputs, "outputs": output_size("mlp", outputs, params)}
