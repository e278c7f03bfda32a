"""Whether the labels, as the writing of the rows has counted them, are such as their losses can learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparkdl.errors import ColumnError, NetworkError
from sparkdl.train.losses import CLASSES, compares, ignored_class, range_of

if TYPE_CHECKING:
    from sparkdl.data.format.manifest import FieldCount, Manifest
    from sparkdl.preflight.dry_run import Shapes
    from sparkdl.schema import Field
    from sparkdl.train.config import Named, TrainConfig


def label_order(outputs: Shapes, labels: Sequence[Field]) -> tuple[int, ...]:
    """Return for each output of a network the number of its label.

    The outputs of a network that returns a dict with the names of the labels as keys belong to these, others come in
    the order of the labels.

    Raises
    ------
    NetworkError
        If some of the keys name labels, and those of other places.
    """
    names, columns = getattr(outputs, "names", ()), [field.columns[0] for field in labels]
    if len(names) == len(columns) and set(names) == set(columns):
        return tuple(columns.index(name) for name in names)
    moved = [name for place, name in enumerate(names) if name in columns and columns.index(name) != place]
    if moved:
        keys, known = (", ".join(map(repr, each)) for each in (names, columns))
        raise NetworkError(
            f"the network returns a dict of {keys} for the labels {known}: name each output as its label, "
            f"or {moved[0]!r} otherwise"
        )
    return tuple(range(len(outputs)))


def by_label(outputs: Shapes, labels: Sequence[Field]) -> Shapes:
    """Return the shapes of a network's outputs in the order of the labels; raises as `label_order`."""
    places = label_order(outputs, labels)
    return tuple(shape for _, shape in sorted(zip(places, outputs, strict=True), key=lambda pair: pair[0]))


def check_labels(config: TrainConfig, outputs: Shapes, train: Manifest, validation: Manifest | None) -> None:
    """Refuse labels that a loss would cut, or could make nothing of. Those of a classifier are checked by its classes.

    Parameters
    ----------
    config : TrainConfig
        losses, loss_params.
    outputs : tuple of tuple of int
        Shape of one row of the output of each label.
    train, validation : Manifest
        The counts.

    Raises
    ------
    DataError
        Names the column, a value and the remedy.
    """
    params = config.loss_params or ({},) * len(config.losses)
    for field, loss, given, shape in zip(train.schema.labels, config.losses, params, outputs, strict=True):
        counts = [m.counts[field.name] for m in (train, validation) if m is not None and field.name in m.counts]
        low = min((c.minimum for c in counts if c.minimum is not None), default=0.0)
        high = max((c.maximum for c in counts if c.maximum is not None), default=0.0)
        if compares(loss) == CLASSES:
            given_chances = field.dtype != "int64" and field.shape == shape and math.prod(shape) > 1
            if not given_chances:
                _check_classes(field, loss, counts, (low, high), ignored_class(loss, given), shape)
        else:
            _check_range(field, loss, low, high)


def _check_classes(
    field: Field,
    loss: Named,
    counts: Sequence[FieldCount],
    reach: tuple[float, float],
    ignored: int | None,
    shape: tuple[int, ...],
) -> None:
    named = _named(loss)
    broken = sum(count.non_integers for count in counts)
    if broken:
        example = next((f", such as {c.fraction:g}" for c in counts if c.fraction is not None), "")
        what = "1 label that is" if broken == 1 else f"{broken:,} labels that are"
        raise _wrong(
            field,
            f"has {what} not whole{example}, and loss={named!r} learns classes: number them 0, 1, 2, "
            "..., for example by StringIndexer, or set a loss for numbers such as 'mse'",
        )
    classes = max(2, shape[0] if shape else 1)
    low, high = reach
    if low < 0 and low != ignored:
        raise _wrong(
            field,
            f"has the label {low:g}, and loss={named!r} learns classes that are numbered from 0 on: "
            "number them so, as by StringIndexer",
        )
    if high >= classes and high != ignored:
        raise _wrong(
            field,
            f"has the label {high:g}, and the network's output tells {classes} classes apart, 0 to "
            f"{classes - 1}: give its last layer {int(high) + 1} outputs, or correct the labels",
        )


def _check_range(field: Field, loss: Named, low: float, high: float) -> None:
    least, most = range_of(loss)
    if low < least or high > most:
        between = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
        raise _wrong(
            field,
            f"has the label {low if low < least else high:g}, and loss={_named(loss)!r} "
            f"takes labels {between}: scale them, or set another loss such as 'mse'",
        )


def _wrong(field: Field, said: str) -> ColumnError:
    return ColumnError(field.columns, said, field.role)


def _named(loss: Named) -> str:
    return loss if isinstance(loss, str) else str(getattr(loss, "__name__", type(loss).__name__))
