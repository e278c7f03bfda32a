"""Counting what the rows hold while they are written, and adding up what the tasks have counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparkdl.data.format.manifest import FieldCount

MAX_SHAPES = 16
MAX_CLASSES = 10_000
OTHER = "other"


def shape_key(shape: Iterable[int]) -> str:
    """Return how a shape is written in the counts: "3,4"; "?" where the parts of one row differ."""
    return ",".join("?" if dimension < 0 else str(dimension) for dimension in shape)


@dataclass
class FieldCounter:
    """The running counts of one field.

    Attributes
    ----------
    labels : bool
        Whether the field is a label: values that are not whole numbers are counted.
    classes : Counter or None
        Rows of each value; None: not asked for, or more than `MAX_CLASSES` values.
    class_weights : Counter
        Sum of the weights of the rows of each value.
    """

    labels: bool = False
    classes: Counter[float] | None = None
    nulls: int = 0
    undecodable: int = 0
    nans: int = 0
    non_integers: int = 0
    fraction: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    shapes: Counter[str] = field(default_factory=Counter)
    class_weights: Counter[float] = field(default_factory=Counter)

    def add_shapes(self, shapes: npt.NDArray[np.int64]) -> None:
        """Count the shapes, (n, dims), of rows that are not null."""
        if len(shapes) and (shapes == shapes[0]).all():
            self.shapes[shape_key(shapes[0])] += len(shapes)
            return
        values, counts = np.unique(shapes, axis=0, return_counts=True)
        for shape, count in zip(values, counts, strict=True):
            self.shapes[shape_key(shape)] += int(count)

    def add_values(self, values: npt.NDArray[Any]) -> None:
        """Count NaN, infinity, the range and classes of dense values, (n, ...)."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(values)
            self.nans += int((~finite.reshape(len(values), -1).all(axis=1)).sum())
            values = values[finite]
            if values.size == 0:
                return
            low, high = float(values.min()), float(values.max())
        self.minimum = low if self.minimum is None else min(low, self.minimum)
        self.maximum = high if self.maximum is None else max(high, self.maximum)
        if self.labels and values.dtype.kind == "f":
            broken = values != np.floor(values)
            found = int(broken.sum())
            if found and self.fraction is None:
                self.fraction = float(values[broken][0])
            self.non_integers += found
        if self.classes is not None:
            labels, counts = np.unique(values, return_counts=True)
            self.classes.update(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
            if len(self.classes) > MAX_CLASSES:
                self.classes = None

    def add_class_weights(self, values: npt.NDArray[Any], weights: npt.NDArray[Any]) -> None:
        """Add the weights of rows, (n, ...), to those of their values, where classes are counted."""
        values, weights = values.reshape(-1), weights.reshape(-1).astype(np.float64)
        if self.classes is None or not len(values):
            return
        finite = np.isfinite(values) & np.isfinite(weights)
        labels, places = np.unique(values[finite], return_inverse=True)
        sums = np.bincount(places, weights[finite], len(labels))
        self.class_weights.update(dict(zip(labels.tolist(), sums.tolist(), strict=True)))

    def result(self) -> FieldCount:
        """Return the counts as the manifest holds them."""
        return FieldCount(
            nulls=self.nulls,
            nans=self.nans,
            shapes=_few(self.shapes),
            minimum=self.minimum,
            maximum=self.maximum,
            classes=None if self.classes is None else {repr(float(k)): n for k, n in sorted(self.classes.items())},
            non_integers=self.non_integers,
            undecodable=self.undecodable,
            fraction=self.fraction,
            class_weights=None
            if self.classes is None or not self.class_weights
            else {repr(float(k)): weight for k, weight in sorted(self.class_weights.items())},
        )


def total(counts: Iterable[FieldCount]) -> FieldCount:
    """Return the counts of several tasks as one."""
    parts = list(counts)
    shapes: Counter[str] = Counter()
    classes: Counter[str] | None = Counter()
    weights: dict[str, list[float]] = {}
    for part in parts:
        shapes.update(part.shapes)
        if classes is not None:
            classes = None if part.classes is None else classes + Counter(part.classes)
        for key, weight in (part.class_weights or {}).items():
            weights.setdefault(key, []).append(weight)
    if not parts or (classes is not None and len(classes) > MAX_CLASSES):
        classes = None
    return FieldCount(
        nulls=sum(part.nulls for part in parts),
        nans=sum(part.nans for part in parts),
        shapes=_few(shapes),
        minimum=min((part.minimum for part in parts if part.minimum is not None), default=None),
        maximum=max((part.maximum for part in parts if part.maximum is not None), default=None),
        classes=None if classes is None else dict(sorted(classes.items(), key=lambda item: float(item[0]))),
        non_integers=sum(part.non_integers for part in parts),
        undecodable=sum(part.undecodable for part in parts),
        fraction=next((part.fraction for part in parts if part.fraction is not None), None),
        class_weights=None
        if classes is None or not weights
        else {key: math.fsum(weights[key]) for key in sorted(weights, key=float)},
    )


def _few(shapes: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent shapes, the rest under "other"."""
    ranked = sorted(((k, n) for k, n in shapes.items() if k != OTHER), key=lambda item: (-item[1], item[0]))
    few = dict(ranked[:MAX_SHAPES])
    rest = sum(n for _, n in ranked[MAX_SHAPES:]) + shapes.get(OTHER, 0)
    if rest:
        few[OTHER] = rest
    return few
