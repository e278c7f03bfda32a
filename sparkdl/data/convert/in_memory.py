"""Columns of rows that lie in this process, as numpy arrays or pandas, as the Arrow arrays that Spark would make."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkdl.data.convert import arrow
from sparkdl.errors import DataError
from sparkdl.schema import DATE, TIMESTAMP

_MISSING = ("NAType", "NaTType")


def to_array(values: Any, name: str, dtype: str = "float32", time: str = "", time_zone: str | None = None) -> pa.Array:
    """Return a column as an Arrow array: numbers, times, lists of numbers nested as deep as the values are, or bytes.

    Parameters
    ----------
    values : sequence
        A numpy array (n, ...), a pandas Series, or a list.
    name : str
        Of the column, for messages.
    dtype : str
        Of the tensor it becomes. NaN stands for a null among whole numbers: pandas has no other way to say it.
    time : str
        DATE, TIMESTAMP or TIMESTAMP_NTZ for what is counted.
    time_zone : str, optional
        That of values without one, where `time` is TIMESTAMP; by default this machine's.

    Raises
    ------
    DataError
        If Arrow has no type for the values, or they are durations.
    """
    try:
        array = _array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"column {name!r} cannot be read as numbers, arrays or bytes: {error}") from error
    if pa.types.is_duration(arrow.leaf(array).type):
        raise DataError(f"column {name!r} holds durations: give them as numbers, of the unit in training")
    if dtype == "int64" and pa.types.is_floating(arrow.leaf(array).type):
        return arrow.with_nulls(array, pc.is_nan)
    return _timed(array, time, time_zone) if pa.types.is_timestamp(array.type) else array


def _array(values: Any) -> pa.Array:
    dtype = getattr(values, "dtype", None)
    if isinstance(values, np.ma.MaskedArray):
        # What is masked is None there.
        return pa.array(values.tolist())
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return _nested(np.asarray(values))
    if dtype is None or isinstance(dtype, np.dtype):
        return pa.array([_plain(value) for value in values])
    try:
        # A type of pandas' own knows which of its values are missing.
        made = pa.array(values, from_pandas=True)
    except pa.ArrowTypeError:
        # Arrow has nothing for sparse ones.
        return _nested(np.asarray(values))
    made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    return made.dictionary_decode() if pa.types.is_dictionary(made.type) else made


def _nested(values: np.ndarray[Any, Any]) -> pa.Array:
    # Arrow has this machine's order of bytes alone.
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return arrow.in_lists(pa.array(values.reshape(-1)), values.shape)


def _plain(value: Any) -> Any:
    if type(value).__name__ in _MISSING:
        return None
    if hasattr(value, "toArray"):
        value = value.toArray()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    return value


def _timed(array: pa.Array, time: str, time_zone: str | None) -> pa.Array:
    """Times as the column that the network was trained on has them: days, or instants for those of no zone."""
    if time == DATE:
        # Of a time with a zone it is the day there.
        return (pc.local_timestamp(array) if array.type.tz else array).cast(pa.date32(), safe=False)
    if time != TIMESTAMP or array.type.tz:
        return array
    if time_zone is not None:
        # Of an hour that comes twice the second, as pyspark takes it.
        return pc.assume_timezone(array, _known_zone(time_zone), ambiguous="latest", nonexistent="latest")
    times = array.cast(pa.timestamp("us"), safe=False).to_pylist()
    return pa.array([None if each is None else each.astimezone(dt.UTC) for each in times], pa.timestamp("us", "UTC"))


def _known_zone(name: str) -> str:
    """A zone of Spark's as Arrow knows it: "GMT+1" is "+01:00"."""
    offset = re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{2}))?", name)
    if offset is None:
        return "UTC" if name == "Z" else name
    return f"{offset[1]}{int(offset[2]):02}:{offset[3] or '00'}"
