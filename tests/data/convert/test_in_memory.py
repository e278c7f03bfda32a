"""Columns of numpy and pandas as Arrow arrays: what is missing is null, and times are those that Spark has."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparkdl.data.convert.arrow import counted
from sparkdl.data.convert.in_memory import to_array
from sparkdl.errors import DataError
from sparkdl.schema import DATE, TIMESTAMP, TIMESTAMP_NTZ

NAN = float("nan")
NOON = dt.datetime(2024, 7, 1, 12)
NEW_YORK = dt.timezone(dt.timedelta(hours=-4))
UTC_NOON = 1_719_835_200
DAY = 19_905


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pd.Series([5, None, 7]), "int64", [5, None, 7]),
        (np.array([5.9, NAN, -7.9]), "int64", [5.9, None, -7.9]),
        ([5, NAN, None], "int64", [5, None, None]),
        (pd.Series([5, NAN, pd.NA, "x"], dtype=object)[:3], "int64", [5, None, None]),
        (np.array([[1.0, NAN], [2.0, 3.0]]), "int64", [[1, None], [2, 3]]),
        ([[1.0], [], None, [NAN, 2.0]], "int64", [[1], [], None, [None, 2]]),
        ([[[1, 2], [NAN]], [[]]], "int64", [[[1, 2], [None]], [[]]]),
        (np.array([1.5, NAN]), "float32", [1.5, NAN]),
        (pd.Series([1, None], dtype="Int64"), "int64", [1, None]),
        (pd.Series([1, None], dtype="Int32"), "float32", [1, None]),
        (pd.Series([1.5, None], dtype="Float64"), "float32", [1.5, None]),
        (pd.Series([True, None], dtype="boolean"), "int64", [True, None]),
        (pd.Series([1, None], dtype="int64[pyarrow]"), "int64", [1, None]),
        (pd.Series([1.5, None], dtype="double[pyarrow]"), "int64", [1.5, None]),
        (pd.Series([3, 1, 3], dtype="category"), "int64", [3, 1, 3]),
        (pd.Series(pd.arrays.SparseArray([0.0, 2.0])), "float32", [0.0, 2.0]),
        ([Decimal("1.5"), None], "float32", [Decimal("1.5"), None]),
        ([[1.0, pd.NA], None], "float32", [[1.0, None], None]),
    ],
    ids=str,
)
def test_what_is_missing_is_null(values: Any, dtype: str, expected: list[Any]) -> None:
    got = to_array(values, "x", dtype).to_pylist()
    assert str(got) == str(expected) if "nan" in str(expected) else got == expected


@pytest.mark.parametrize("kind", ["numpy", "objects", "pandas"])
@pytest.mark.parametrize(
    ("value", "types", "zone", "expected"),
    [
        (NOON, TIMESTAMP, "America/New_York", UTC_NOON + 4 * 3600),
        (NOON, TIMESTAMP, "UTC", UTC_NOON),
        (NOON, TIMESTAMP, "GMT+2", UTC_NOON - 2 * 3600),
        (NOON, TIMESTAMP, "-03:30", UTC_NOON + 3 * 3600 + 1800),
        (NOON, TIMESTAMP, "Z", UTC_NOON),
        (NOON, TIMESTAMP, None, UTC_NOON + 4 * 3600),
        (NOON, TIMESTAMP_NTZ, "America/New_York", UTC_NOON),
        (NOON.replace(hour=23), DATE, "America/New_York", DAY),
        (dt.datetime(1960, 1, 1, 0, 0, 0, 500_000), TIMESTAMP, "UTC", -315_619_200),
        # The hour that comes twice, as pyspark takes it.
        (dt.datetime(2024, 11, 3, 1, 30), TIMESTAMP, "America/New_York", 1_730_615_400),
    ],
)
def test_times_without_a_zone(
    in_new_york: None, kind: str, value: dt.datetime, types: str, zone: str | None, expected: int
) -> None:
    values = {
        "numpy": np.array([value, None], dtype="datetime64[us]"),
        "objects": [value, None],
        "pandas": pd.Series([value, None], dtype="datetime64[ns]"),
    }[kind]
    assert counted(to_array(values, "when", "int64", types, zone)).to_pylist() == [expected, None]


@pytest.mark.parametrize("types", [TIMESTAMP, TIMESTAMP_NTZ])
def test_times_with_a_zone_are_moments_whatever_the_session_says(types: str) -> None:
    here = NOON.replace(tzinfo=NEW_YORK)
    for values in (
        [here, None],
        pd.Series([here, None]),
        pd.Series([here, None]).astype("timestamp[us, UTC][pyarrow]"),
    ):
        got = counted(to_array(values, "when", "int64", types, "Asia/Tokyo")).to_pylist()
        assert got == [UTC_NOON + 4 * 3600, None]
    late = pd.Series([here.replace(hour=23)])
    assert counted(to_array(late, "when", "int64", DATE, "Asia/Tokyo")).to_pylist() == [DAY]
    assert counted(to_array([NOON.date(), None], "when", "int64", DATE)).to_pylist() == [DAY, None]


def test_what_arrow_has_no_type_for() -> None:
    with pytest.raises(DataError, match="column 'x' cannot be read as numbers, arrays or bytes: "):
        to_array([1, [2]], "x")
