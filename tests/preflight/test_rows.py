from __future__ import annotations

from typing import Any

import pytest

from sparkdl.data.format.manifest import DataFile, FieldCount, Manifest
from sparkdl.errors import DataError, SettingError
from sparkdl.params.stages import RegressorParams
from sparkdl.preflight.rows import balanced_weights, check_rows, count_classes
from sparkdl.schema import ARRAY, IMAGE, INPUT, LABEL, SCALAR, STACKED, WEIGHT, DataSchema, Field

FEATURES = Field("features", INPUT, ARRAY, ("x",), "float32", (3,))
STACK = Field("features", INPUT, STACKED, ("a", "b", "c", "d", "e"), "float32", (5,))
PICTURE = Field("features", INPUT, IMAGE, ("image",), "float32", (3, 2, 2))
GRID = Field("features", INPUT, ARRAY, ("x",), "float32", (2, 3))
TARGET = Field("label", LABEL, SCALAR, ("label",), "float32", (1,))
WEIGHTS = Field("weight", WEIGHT, SCALAR, ("w",), "float32", (1,))


def manifest(rows: int, counts: dict[str, FieldCount] | None = None, features: Field = FEATURES) -> Manifest:
    files = (DataFile("part-0", 0, 0, (rows,), 100),) if rows else ()
    return Manifest("file:/rows", DataSchema((features, TARGET, WEIGHTS)), files, counts or {})


def refused(counts: dict[str, FieldCount], features: Field = FEATURES, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        check_rows(RegressorParams(**settings), manifest(10, counts, features), None)
    return str(error.value)


def test_nulls_and_nan_are_counted_by_column() -> None:
    assert refused({"features": FieldCount(nulls=2)}) == (
        "column 'x' has 2 rows with a null: remove them, or set fillValue"
    )
    assert refused({"features": FieldCount(nulls=1)}, STACK) == (
        "one of the columns 'a', 'b', 'c', 'd' and 1 more has 1 row with a null: remove them, or set fillValue"
    )
    assert refused({"features": FieldCount(nans=3)}) == (
        "column 'x' has 3 rows with NaN, infinity or a number beyond float32 (3.4e38): "
        "remove them, or replace the values, for example by Imputer"
    )
    assert refused({"label": FieldCount(nulls=1)}) == "column 'label' has 1 row with a null: remove them"
    assert refused({"label": FieldCount(nans=1234)}) == (
        "column 'label' has 1,234 rows with NaN, infinity or a number beyond float32 (3.4e38): remove them"
    )
    assert refused({"features": FieldCount(nulls=1)}, PICTURE) == ("column 'image' has 1 row with a null: remove them")
    assert refused({"features": FieldCount(nulls=2)}, fillValue=0.5) == (
        "column 'x' has 2 rows with a null, and no row tells how long what fillValue=0.5 fills has to be: "
        "leave the column out"
    )
    assert "1 row without an image" in refused({"features": FieldCount(undecodable=1)}, PICTURE)


def test_counts_of_both_splits_are_added() -> None:
    train, held = (manifest(5, {"label": FieldCount(nulls=n)}) for n in (0, 2))

    with pytest.raises(DataError, match="'label' has 2 rows with a null"):
        check_rows(RegressorParams(validationFraction=0.5), train, held)


def test_ragged_arrays_are_named_with_their_lengths() -> None:
    shapes = {"3": 8, "4": 1, "5": 1}

    assert refused({"features": FieldCount(shapes=shapes)}) == (
        "column 'x' holds arrays of different lengths: 3 (8 rows), 4 (1 row), 5 (1 row): "
        "make them equal, or set padValue"
    )
    assert "images of different sizes: 3 x 2 x 2 (9 rows)" in refused(
        {"features": FieldCount(shapes={"3,2,2": 9, "3,4,4": 1})}, PICTURE
    )
    assert refused({"label": FieldCount(shapes=shapes)}, padValue=0.0).endswith(": make them equal")
    inside = ": make them equal in all dimensions but the first, which padValue pads"
    assert refused({"features": FieldCount(shapes={"2,3": 1, "2,4": 1})}, GRID, padValue=0.0).endswith(inside)
    assert refused({"features": FieldCount(shapes={"2,?": 10})}, GRID) == (
        "column 'x' holds arrays of different lengths: 2 x ? (10 rows)" + inside
    )
    several = {"2,3": 5, "1,3": 3, "0,0": 1, "other": 1}
    assert refused({"features": FieldCount(shapes=several)}, GRID).endswith(": make them equal, or set padValue")


def test_weights() -> None:
    assert refused({"weight": FieldCount(minimum=-1.0, maximum=2.0)}) == (
        "column 'w' has the weight -1: weights are 0 or more"
    )
    assert "'w' is 0 in every row" in refused({"weight": FieldCount(minimum=0.0, maximum=0.0)})
    assert "'w' has 2 rows with a null" in refused({"weight": FieldCount(nulls=2)})


def test_weights_that_leave_nothing_of_one_split() -> None:
    some, none = ({"weight": FieldCount(minimum=0.0, maximum=each)} for each in (2.0, 0.0))
    stage = RegressorParams(validationFraction=0.5)

    with pytest.raises(DataError, match="'w' is 0 in every row to learn from, so that nothing is learned"):
        check_rows(stage, manifest(5, none), manifest(5, some))
    with pytest.raises(DataError, match="'w' is 0 in every row for validation, so that nothing is measured"):
        check_rows(stage, manifest(5, some), manifest(5, none))


def test_a_validation_column_with_nulls() -> None:
    train = manifest(3, {"held": FieldCount(nulls=2)})

    with pytest.raises(DataError, match="validationIndicatorCol='held' has 2 rows with a null: make it true or false"):
        check_rows(RegressorParams(validationIndicatorCol="held"), train, manifest(1))


def test_splits_without_rows() -> None:
    column, share = RegressorParams(validationIndicatorCol="held"), RegressorParams(validationFraction=0.1)
    for stage, train, held, sentence in (
        (RegressorParams(), manifest(0), None, "the DataFrame is empty"),
        (column, manifest(0), manifest(0), "the DataFrame is empty"),
        (column, manifest(0), manifest(4), "validationIndicatorCol='held' is true in all 4 rows"),
        (column, manifest(4), manifest(0), "validationIndicatorCol='held' is true in none of the 4 rows"),
        (share, manifest(4), manifest(0), "validationFraction=0.1 of 4 rows takes none for validation"),
        (share, manifest(0), manifest(1), "validationFraction=0.1 of 1 row leaves none to learn from"),
    ):
        with pytest.raises(DataError, match=sentence):
            check_rows(stage, train, held)


def test_fewer_rows_than_ranks() -> None:
    with pytest.raises(
        SettingError, match="numProcs=4 is more than the 3 rows to learn from: set numProcs to 3 or less"
    ):
        check_rows(RegressorParams(numProcs=4), manifest(3), None)
    check_rows(RegressorParams(numProcs=3), manifest(3), None)


def labels(*values: float, **more: Any) -> Manifest:
    classes = {repr(float(v)): values.count(v) for v in sorted(set(values))}
    count = FieldCount(minimum=min(values), maximum=max(values), classes=classes, **more)
    return manifest(len(values), {"label": count})


UNCOUNTED = manifest(9, {"label": FieldCount(minimum=0.0, maximum=2e4)})
"""More labels than are counted."""


def test_any_number_of_classes_that_somebody_names() -> None:
    assert count_classes(UNCOUNTED, None, 20_001) == 20_001
    with pytest.raises(DataError, match="'label' has more than 10,000 different labels, .*: give a list"):
        balanced_weights(UNCOUNTED, 20_001)


def test_classes_are_counted_over_both_splits() -> None:
    assert count_classes(labels(0, 1, 1), None, 0) == 2
    assert count_classes(labels(0, 1, 1), labels(0, 3), 0) == 4
    assert count_classes(labels(0, 1), None, 5) == 5
    assert count_classes(labels(1, 1), None, 2) == 2


@pytest.mark.parametrize(
    ("train", "declared", "sentence"),
    [
        (labels(0, 0.5, non_integers=1), 0, "'label' has 1 row whose label is not a whole number"),
        (labels(-1, 1), 0, "'label' has the label -1: classes are numbered from 0"),
        (labels(0, 2), 2, "'label' has the label 2, and 2 classes are numbered 0 to 1: set numClasses to 3"),
        (labels(1, 1), 0, "'label' has the label 1 in every row"),
        (UNCOUNTED, 0, "'label' has more than 10,000 different labels, .*: set numClasses, or use TorchRegressor"),
    ],
)
def test_labels_that_are_no_classes(train: Manifest, declared: int, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        count_classes(train, None, declared)


def test_balanced_weights_give_each_class_the_same_total() -> None:
    weights = balanced_weights(labels(0, 0, 0, 1, 3, 3), 4)

    assert weights == (6 / 9, 6 / 3, 0.0, 6 / 6)
    assert [w * n for w, n in zip(weights, (3, 1, 0, 2), strict=True) if w] == [2.0, 2.0, 2.0]


def test_balanced_weights_take_a_row_of_weight_two_for_two_rows() -> None:
    twice = labels(0, 0, 0, 1, 3, 3, 2, class_weights={"0.0": 3.0, "1.0": 2.0, "2.0": 0.0, "3.0": 4.0})

    assert balanced_weights(twice, 4) == balanced_weights(labels(0, 0, 0, 1, 1, 3, 3, 3, 3), 4)
