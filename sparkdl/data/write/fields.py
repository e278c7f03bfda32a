"""From the DataFrame's schema to the fields of a row: what can go in, and the sentence for what cannot."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    UserDefinedType,
)

from sparkdl.data.types import TYPES, ColumnType, Shaped, type_of
from sparkdl.errors import ColumnError, DataError, SettingError, did_you_mean, listed
from sparkdl.schema import INPUT, LABEL, MASK, STACKED, VALIDATION, WEIGHT, DataSchema, Field
from sparkdl.spark.columns import element_of, time_of

_WHOLE = ("a label", "an input")
"""Uses that take a column of any type."""
_ALLOWED = "numbers, booleans, dates, timestamps, arrays of numbers, Spark ML vectors, images"


def schema_of(
    frame_schema: StructType,
    *,
    inputs: Sequence[tuple[str, tuple[str, ...]]],
    labels: Sequence[str],
    weight: str | None,
    case_sensitive: bool = False,
    masks: bool = False,
    sparse: bool = False,
) -> DataSchema:
    """Return the fields that the named columns make.

    Parameters
    ----------
    frame_schema : StructType
        ``df.schema``.
    inputs : sequence of (str, tuple of str)
        Name and columns of each input; several columns are scalars stacked into one (k,) input.
    labels : sequence of str
        Columns of the labels.
    weight : str or None
        Column of the row weights.
    case_sensitive : bool
        As ``spark.sql.caseSensitive``.
    masks : bool
        Add, behind the inputs, a mask for each of them that can be padded.
    sparse : bool
        Inputs that are vectors become sparse tensors.

    Raises
    ------
    DataError
        A column is missing, stands there twice, or has a type that cannot go in.
    SettingError
        A mask or a sparse tensor is asked for, and there is no input for it.
    """
    found = _Columns(frame_schema, case_sensitive)
    fields = [_input(found, name, columns) for name, columns in inputs]
    if sparse:
        fields = [replace(f, sparse=type_of(f).sparse) for f in fields]
        if not any(f.sparse for f in fields):
            raise SettingError("sparseTensors is set, and no input is a Spark ML vector: leave it out")
    if masks:
        fields += _masks(fields)
    for label in labels:
        fields.append(_single(found, _free(label, "label", fields), LABEL, label))
    if weight is not None:
        data_type = found.type_of(weight, WEIGHT)
        if time_of(data_type):
            raise ColumnError([weight], _refusal(data_type, "a weight"), WEIGHT)
        kind, shaped = _number(weight, data_type, "a weight", WEIGHT)
        fields.append(Field(_free(weight, "weight", fields), WEIGHT, kind, (weight,), "float32", shaped.shape))
    return DataSchema(tuple(fields))


def check_validation_column(frame_schema: StructType, name: str, case_sensitive: bool = False) -> None:
    """Raise DataError unless `name` is a boolean column."""
    data_type = _Columns(frame_schema, case_sensitive).type_of(name, VALIDATION)
    if not isinstance(data_type, BooleanType):
        said = (
            f"is {data_type.simpleString()}, not boolean: make it true for the rows that are only measured, for "
            f"example with F.col({name!r}) == 1"
        )
        raise ColumnError([name], said, VALIDATION)


def declared_sizes(frame_schema: StructType, schema: DataSchema, case_sensitive: bool = False) -> dict[str, int]:
    """Return how many numbers the vectors of each field have by their columns' metadata, where these tell.

    Spark ML's stages write such metadata. Nobody has compared it with the rows: what follows from it can be refused,
    but rows are packed by what they hold.
    """
    found = _Columns(frame_schema, case_sensitive)
    # The types of a mask are the kinds of what it masks.
    kinds = {f.name: (f.kind, *f.types) if type_of(f).derived else (f.kind,) for f in schema.fields}
    vectors = [f for f in schema.fields if any(TYPES[kind].sparse for kind in kinds[f.name])]
    sizes = {f.name: _declared_size(found.find(f.columns[0], f.role)) for f in vectors}
    return {name: size for name, size in sizes.items() if size}


def _declared_size(field: StructField) -> int | None:
    said = field.metadata.get("ml_attr", {})
    if "num_attrs" in said:
        return int(said["num_attrs"])
    return sum(len(group) for group in said["attrs"].values()) if "attrs" in said else None


class _Columns:
    """The columns of a frame by name, found as Spark finds them."""

    def __init__(self, frame_schema: StructType, case_sensitive: bool) -> None:
        self._fields: list[StructField] = list(frame_schema.fields)
        self._case_sensitive = case_sensitive

    def type_of(self, name: str, role: str) -> DataType:
        return self.find(name, role).dataType

    def find(self, name: str, role: str) -> StructField:
        matches = [field for field in self._fields if self._same(field.name, name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ColumnError([name], f"stands {len(matches)} times in the DataFrame: rename or drop one", role)
        there = [field.name for field in self._fields]
        hint = did_you_mean(name, there, "")
        shown = listed(there, 20) or "no columns"
        said = f"is not in the DataFrame{hint and f', {hint}'} (it has {shown})"
        raise ColumnError([name], said, role)

    def _same(self, left: str, right: str) -> bool:
        return left == right if self._case_sensitive else left.lower() == right.lower()


def _free(name: str, role: str, fields: Sequence[Field]) -> str:
    """A field name that no other field has: a column may be input and label at once (an autoencoder)."""
    taken = {field.name for field in fields}
    candidate, count = name, 1
    while candidate in taken:
        candidate = f"{name} ({role})" if count == 1 else f"{name} ({role} {count})"
        count += 1
    return candidate


def _input(found: _Columns, name: str, columns: tuple[str, ...]) -> Field:
    if not columns:
        raise DataError(f"input {name!r} has no columns")
    if len(columns) == 1:
        return _single(found, name, INPUT, columns[0])
    types = [found.type_of(column, INPUT) for column in columns]
    use = f"one of the {len(columns)} columns that are stacked"
    dtypes = {_number(column, data_type, use, INPUT)[1].dtype for column, data_type in zip(columns, types, strict=True)}
    dtype = "int64" if dtypes == {"int64"} else "float32"
    times = [c for c, t in zip(columns, types, strict=True) if isinstance(t, (TimestampType, TimestampNTZType))]
    if times and dtype == "float32":
        # 24 bits hold 1.7 billion seconds to the nearest 128.
        warnings.warn(
            f"column {times[0]!r} is a timestamp stacked with fractions: as float32 its seconds since 1970 are only "
            "exact to 64; give it as an input of its own (inputCols), or as the seconds since a later start",
            stacklevel=2,
        )
    return Field(name, INPUT, STACKED, tuple(columns), dtype, (len(columns),), _times(types))


def _single(found: _Columns, name: str, role: str, column: str) -> Field:
    data_type = found.type_of(column, role)
    kind, shaped = _tensor(column, data_type, "a label" if role == LABEL else "an input", role, TYPES.values())
    return Field(name, role, kind, (column,), shaped.dtype, shaped.shape, _times([data_type]))


def _times(types: Sequence[DataType]) -> tuple[str, ...]:
    found = tuple(time_of(data_type) for data_type in types)
    return found if any(found) else ()


def _masks(fields: Sequence[Field]) -> list[Field]:
    padded = [f for f in fields if type_of(f).paddable]
    if not padded:
        raise SettingError("padMask is set, and no input is an array or a vector that could be padded: leave it out")
    names = [_free(f.name, "mask", fields) for f in padded]
    return [
        Field(name, INPUT, MASK, f.columns, "bool", f.shape[:1], (f.kind,))
        for name, f in zip(names, padded, strict=True)
    ]


def _tensor(column: str, data_type: DataType, use: str, role: str, types: Iterable[ColumnType]) -> tuple[str, Shaped]:
    """Kind, dtype and shape of one column, by the first type that takes it."""
    for each in types:
        shaped = each.of_spark(column, data_type)
        if shaped is not None:
            return each.kind, shaped
    if type(data_type).__name__ == "VectorUDT":
        said = (
            f"is an old mllib vector and cannot be {use}: "
            "convert it with pyspark.mllib.util.MLUtils.convertVectorColumnsToML"
        )
        raise ColumnError([column], said, role)
    raise ColumnError([column], _refusal(data_type, use), role)


def _number(column: str, data_type: DataType, use: str, role: str) -> tuple[str, Shaped]:
    return _tensor(column, data_type, use, role, [each for each in TYPES.values() if each.stackable])


def _refusal(data_type: DataType, use: str) -> str:
    # Of an array that cannot go in its elements are what is wrong, where an array could.
    element = element_of(data_type)[0] if use in _WHOLE else data_type
    remedy = _remedy(element)
    if use in _WHOLE and isinstance(data_type, UserDefinedType):
        remedy = "convert it to an array or a vector"
    return f"is {data_type.simpleString()} and cannot be {use} ({_allowed(use)} can): {remedy}"


def _allowed(use: str) -> str:
    if use == "a weight":
        return "numbers and booleans"
    return _ALLOWED if use in _WHOLE else "numbers, booleans, dates and timestamps"


def _remedy(data_type: DataType) -> str:
    """What to do about a type that cannot go in."""
    if isinstance(data_type, StringType):
        return "turn strings into numbers first, with StringIndexer (a class), FeatureHasher or a cast"
    if time_of(data_type):
        return "turn it into numbers first, with F.unix_date or F.unix_seconds (in arrays by F.transform)"
    if isinstance(data_type, (ArrayType, UserDefinedType)):
        return "pass it as an input of its own (inputCols), or stack vectors with VectorAssembler"
    if isinstance(data_type, (StructType, MapType)):
        return "select the parts of it that are numbers into columns of their own"
    if isinstance(data_type, BinaryType):
        return "pass images as an input of its own (inputCols)"
    return "cast it to a number first"
