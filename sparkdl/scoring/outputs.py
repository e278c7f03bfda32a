"""How the tensors that a network returns become the columns of a DataFrame; one class for each task.

A head is a frozen dataclass that travels to the executors; it knows the names of its columns (an empty name leaves a
column out) and computes one tensor for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import torch

from sparkdl.data.convert.arrow import from_numpy, in_lists
from sparkdl.data.convert.tensors import from_tensor
from sparkdl.errors import NetworkError

DOUBLE = "double"
ARRAY = "array"
VECTOR = "vector"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OutputColumn:
    """A column that a model adds.

    Attributes
    ----------
    name : str
    type : str
        DOUBLE, ARRAY (of float, nested as deep as the shape is long) or VECTOR (a Spark ML vector).
    shape : tuple of int
        Of one row.
    labels : tuple of str
        Of the classes whose index a DOUBLE is, where a StringIndexer has numbered them.
    """

    name: str
    type: str
    shape: Shape = ()
    labels: tuple[str, ...] = ()


class Head(Protocol):
    """What a task makes of the network's outputs."""

    def columns(self) -> tuple[OutputColumn, ...]:
        """Return the columns in order, without those that are left out."""
        ...

    def compute(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return one tensor (n, ...) for each of `columns`."""
        ...


@dataclass(frozen=True)
class GenericHead:
    """Every output of the network as a column: (n,) and (n, 1) as double, others as arrays of float.

    Attributes
    ----------
    names : tuple of str
        One for each output.
    shapes : tuple of tuple of int
        Of one row of each.
    """

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes):
            raise NetworkError(
                f"the network has {len(self.shapes)} outputs, {len(self.names)} columns are named for them "
                f"({', '.join(map(repr, self.names))}): name one column for each in outputCols"
            )

    def columns(self) -> tuple[OutputColumn, ...]:
        return tuple(column_for(name, shape) for name, shape in zip(self.names, self.shapes, strict=True) if name)

    def compute(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [output for name, output in zip(self.names, outputs, strict=True) if name]


@dataclass(frozen=True)
class RegressionHead:
    """One number for each row, as double."""

    prediction: str

    def columns(self) -> tuple[OutputColumn, ...]:
        return (OutputColumn(self.prediction, DOUBLE),) if self.prediction else ()

    def compute(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [outputs[0]] if self.prediction else []


@dataclass(frozen=True)
class ClassificationHead:
    """Spark ML's three columns of a classifier, from logits (n, classes), or (n, 1) and (n,) for two classes.

    Attributes
    ----------
    raw_prediction, probability, prediction : str
        Names; vectors of `classes` doubles and a double.
    classes : int
    thresholds : tuple of float or None
        The class with the largest probability / threshold is predicted, as Spark ML does; NaN where one is NaN.
    labels : tuple of str
        Of the classes, where a StringIndexer has numbered them.
    """

    raw_prediction: str
    probability: str
    prediction: str
    classes: int
    thresholds: tuple[float, ...] | None = None
    labels: tuple[str, ...] = ()

    def columns(self) -> tuple[OutputColumn, ...]:
        columns = (
            OutputColumn(self.raw_prediction, VECTOR, (self.classes,)),
            OutputColumn(self.probability, VECTOR, (self.classes,)),
            OutputColumn(self.prediction, DOUBLE, labels=self.labels),
        )
        return tuple(column for column in columns if column.name)

    def compute(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        logits = outputs[0].double()
        raw = self._raw(logits.reshape(len(logits), -1))
        probability = torch.sigmoid(raw) if self.classes == 2 else torch.softmax(raw, dim=1)
        named = ((self.raw_prediction, raw), (self.probability, probability))
        computed = [tensor for name, tensor in named if name]
        return [*computed, self._predicted(probability)] if self.prediction else computed

    def _raw(self, logits: torch.Tensor) -> torch.Tensor:
        if self.classes == 2:
            # The log-odds of class 1, centred as LogisticRegression's, whether the network has one logit or two.
            margin = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            return torch.stack((-margin, margin), dim=1)
        return logits

    def _predicted(self, probability: torch.Tensor) -> torch.Tensor:
        scaled = probability
        if self.thresholds is not None:
            thresholds = torch.tensor(self.thresholds, dtype=probability.dtype)
            scaled = torch.where(thresholds == 0, math.inf, probability / thresholds)
        # Of numbers that are none, none is the largest.
        return torch.where(probability.isnan().any(dim=1), math.nan, scaled.argmax(dim=1).double())


def column_for(name: str, shape: Shape) -> OutputColumn:
    """Return the column of an output of that shape: (n,) and (n, 1) become double, others arrays."""
    return OutputColumn(name, DOUBLE) if shape in ((), (1,)) else OutputColumn(name, ARRAY, tuple(shape))


def to_arrow(tensor: torch.Tensor, column: OutputColumn) -> pa.Array:
    """Return a tensor (n, ...) on the CPU as an Arrow array of the column's type; without a copy where it can.

    Raises
    ------
    NetworkError
        If rows do not have the shape that the network had when it was checked.
    """
    rows = len(tensor)
    if tensor.numel() != rows * math.prod(column.shape):
        raise NetworkError(
            f"column {column.name!r} gets rows of the shape {tuple(tensor.shape[1:])}, the check of the network gave "
            f"{column.shape}: an output's shape must not change from batch to batch"
        )
    if column.type != VECTOR:
        return from_tensor(tensor, column.type)
    values = tensor.double().contiguous().numpy()
    return in_lists(from_numpy(values.reshape(-1)), values.shape)
