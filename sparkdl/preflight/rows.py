"""What the writing of the rows has counted, and which of it no rank could train on.

Nothing is read again: one pass has written the rows and counted nulls, NaN, shapes and classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sparkdl.data.format.statistics import MAX_CLASSES
from sparkdl.data.types import type_of
from sparkdl.errors import ColumnError, DataError, SettingError
from sparkdl.schema import INPUT, LABEL, WEIGHT, Field

if TYPE_CHECKING:
    from sparkdl.data.format.manifest import FieldCount, Manifest
    from sparkdl.params.stages import TrainingParams

MAX_NAMED = 4
"""Lengths, or labels, that a sentence names; the rest is counted."""


def check_rows(stage: TrainingParams, train: Manifest, validation: Manifest | None) -> None:
    """Refuse rows that cannot be trained on.

    Parameters
    ----------
    stage : TrainingParams
        The estimator.
    train, validation : Manifest
        The counts of the rows that it learns from, and of those that are only measured.

    Raises
    ------
    DataError
        One sentence with the column, how many rows, and what to change.
    SettingError
        If there are fewer rows than `numProcs`.
    """
    for field in train.schema.fields:
        counts = [m.counts[field.name] for m in (train, validation) if m is not None and field.name in m.counts]
        if counts:
            _check_values(field, counts, stage.getFillValue())
    _check_weights_of_splits(train, validation)
    column = stage.getValidationIndicatorCol()
    splits = [m for m in (train, validation) if m is not None]
    unmarked = sum(m.counts[column].nulls for m in splits if column in m.counts) if column else 0
    if unmarked:
        raise DataError(f"validationIndicatorCol={column!r} has {_rows(unmarked)} with a null: make it true or false")
    _check_splits(stage, train, validation)
    if train.rows < stage.getNumProcs():
        raise SettingError(
            f"numProcs={stage.getNumProcs()} is more than the {_rows(train.rows)} to learn from: "
            f"set numProcs to {train.rows} or less"
        )


def count_classes(train: Manifest, validation: Manifest | None, declared: int) -> int:
    """Return the number of classes, and refuse labels that are no class.

    Parameters
    ----------
    train, validation : Manifest
        Their one label has been counted.
    declared : int
        `numClasses`, or what the label column's metadata says; 0: the greatest label says it.

    Raises
    ------
    DataError
        If labels are no whole numbers from 0 on, too great, or, where nothing is declared, of too many values or all
        the same.
    """
    (field,) = train.schema.labels
    counts = [m.counts[field.name] for m in (train, validation) if m is not None and m.rows]
    broken = sum(count.non_integers for count in counts)
    if broken:
        example = next((f" ({c.fraction:g})" for c in counts if c.fraction is not None), "")
        raise _wrong(
            field,
            f"has {_rows(broken)} whose label is not a whole number{example}: "
            "give classes as 0, 1, 2, ..., for example by StringIndexer, or use TorchRegressor",
        )
    lowest = min(count.minimum for count in counts if count.minimum is not None)
    highest = max(count.maximum for count in counts if count.maximum is not None)
    if lowest < 0:
        raise _wrong(field, f"has the label {lowest:g}: classes are numbered from 0 on, as by StringIndexer")
    if not declared and any(count.classes is None for count in counts):
        said = f"has more than {MAX_CLASSES:,} different labels, and nothing says that they are classes"
        raise _wrong(field, f"{said}: set numClasses, or use TorchRegressor")
    if declared and highest >= declared:
        raise _wrong(
            field,
            f"has the label {highest:g}, and {declared} classes are numbered 0 to {declared - 1}: "
            f"set numClasses to {int(highest) + 1}, or correct the labels",
        )
    found = set().union(*(count.classes or () for count in counts))
    if not declared and len(found) < 2:
        raise _wrong(
            field,
            f"has the label {highest:g} in every row, and a classifier needs two classes: "
            "set numClasses if the others are only missing here",
        )
    return declared or int(highest) + 1


def balanced_weights(train: Manifest, classes: int) -> tuple[float, ...]:
    """Return a weight for each class so that all classes weigh the same: rows / (classes present x rows of the class).

    A class without rows has the weight 0. Where rows have weights, a row counts as many times as its weight says. The
    formula is scikit-learn's ``class_weight="balanced"``.

    Raises
    ------
    DataError
        If there are so many labels that they have not been counted.
    """
    (field,) = train.schema.labels
    count = train.counts[field.name]
    if count.classes is None:
        raise _wrong(
            field,
            f"has more than {MAX_CLASSES:,} different labels, so many are not counted for classWeights='balanced': "
            "give a list with the weight of each class",
        )
    counted = {int(float(label)): rows for label, rows in (count.class_weights or count.classes).items()}
    present, total = sum(1 for rows in counted.values() if rows), math.fsum(counted.values())
    weights = [total / (present * counted[label]) if counted.get(label) else 0.0 for label in range(classes)]
    # Sums of weights differ in their last digits by the order of the rows.
    return tuple(weights if count.class_weights is None else (float(f"{weight:.9g}") for weight in weights))


def _check_values(field: Field, counts: Sequence[FieldCount], fill_value: float | None) -> None:
    nulls, nans = sum(c.nulls for c in counts), sum(c.nans for c in counts)
    undecodable = sum(c.undecodable for c in counts)
    if undecodable:
        raise _wrong(field, f"has {_rows(undecodable)} without an image: keep JPEG, PNG or Spark's image struct only")
    if nulls:
        fillable = field.role == INPUT and type_of(field).fillable
        if fillable and fill_value is not None:
            said = f"no row tells how long what fillValue={fill_value:g} fills has to be: leave the column out"
            raise _wrong(field, f"has {_rows(nulls)} with a null, and {said}")
        raise _wrong(field, f"has {_rows(nulls)} with a null: remove them{', or set fillValue' if fillable else ''}")
    if nans:
        remedy = ", or replace the values, for example by Imputer" if field.role == INPUT else ""
        raise _wrong(
            field, f"has {_rows(nans)} with NaN, infinity or a number beyond float32 (3.4e38): remove them{remedy}"
        )
    if field.role in (INPUT, LABEL):
        _check_shapes(field, counts)
    if field.role == WEIGHT:
        _check_weights(field, counts)


def _check_shapes(field: Field, counts: Sequence[FieldCount]) -> None:
    shapes: Counter[str] = Counter()
    for count in counts:
        shapes.update(count.shapes)
    if len(shapes) == 1 and "0" in next(iter(shapes)).split(","):
        raise _wrong(field, f"holds {type_of(field).plural} without elements: fill them, or leave the column out")
    if len(shapes) < 2 and "?" not in "".join(shapes):
        return
    named = ", ".join(f"{shape.replace(',', ' x ')} ({_rows(rows)})" for shape, rows in shapes.most_common(MAX_NAMED))
    more = f" and {len(shapes) - MAX_NAMED} others" if len(shapes) > MAX_NAMED else ""
    kind = type_of(field)
    raise _wrong(field, f"holds {kind.unequal}: {named}{more}: {kind.remedy(field, shapes, 'padValue')}")


def _check_weights(field: Field, counts: Iterable[FieldCount]) -> None:
    lowest = min((c.minimum for c in counts if c.minimum is not None), default=0.0)
    highest = max((c.maximum for c in counts if c.maximum is not None), default=1.0)
    if lowest < 0:
        raise _wrong(field, f"has the weight {lowest:g}: weights are 0 or more")
    if highest == 0:
        raise _wrong(field, "is 0 in every row, so that nothing is learned: give some rows a weight above 0")


def _check_weights_of_splits(train: Manifest, validation: Manifest | None) -> None:
    """Refuse weights that leave nothing of one of the splits."""
    field = train.schema.weight
    splits = [(train, "to learn from, so that nothing is learned")]
    if validation is not None:
        splits.append((validation, "for validation, so that nothing is measured"))
    for manifest, said in splits:
        if field is not None and field.name in manifest.counts and manifest.counts[field.name].maximum == 0:
            raise _wrong(field, f"is 0 in every row {said}: give some of these rows a weight above 0")


def _check_splits(stage: TrainingParams, train: Manifest, validation: Manifest | None) -> None:
    held = 0 if validation is None else validation.rows
    if train.rows + held == 0:
        raise DataError("the DataFrame is empty: fit needs at least one row")
    column, fraction = stage.getValidationIndicatorCol(), stage.getValidationFraction()
    if column and not train.rows:
        raise DataError(
            f"validationIndicatorCol={column!r} is true in all {_rows(held)}: nothing is left to learn from"
        )
    if column and not held:
        raise DataError(
            f"validationIndicatorCol={column!r} is true in none of the {_rows(train.rows)}: "
            "mark some rows, or leave validationIndicatorCol out"
        )
    if fraction > 0 and not (train.rows and held):
        what = "leaves none to learn from" if held else "takes none for validation"
        raise DataError(
            f"validationFraction={fraction:g} of {_rows(train.rows + held)} {what}: "
            "set another share, or use validationIndicatorCol"
        )


def _wrong(field: Field, said: str) -> ColumnError:
    return ColumnError(field.columns, said, field.role)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
