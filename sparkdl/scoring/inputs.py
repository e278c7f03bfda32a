"""The columns of a DataFrame as the inputs of a network that was trained on others, maybe of another kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    NumericType,
    StructType,
)

from sparkdl.errors import DataError, SettingError
from sparkdl.schema import (
    ARRAY,
    IMAGE,
    IMAGE_PARTS,
    MASK,
    SCALAR,
    STACKED,
    VECTOR,
    Field,
)
from sparkdl.spark.columns import column, padded, tensor_column, time_of, vector_numbers, vector_parts

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Repair:
    """What training has put in place of what is missing.

    Attributes
    ----------
    fill_value : float or None
        For null numbers.
    pad_value : float or None
        Behind the elements of shorter arrays.
    """

    fill_value: float | None = None
    pad_value: float | None = None


def bound_field(field: Field, columns: Sequence[str], schema: StructType) -> Field:
    """Return a field of the network with the columns it is read from now, and their kind.

    Parameters
    ----------
    field : Field
        As the network was trained.
    columns : sequence of str
        One, or several scalar ones.
    schema : StructType
        Of the DataFrame that is scored.

    Raises
    ------
    DataError
        If a column is missing or of a type that the network cannot take.
    """
    kinds = [_kind(name, _type_of(name, schema), field) for name in columns]
    if len(columns) > 1:
        wrong = next((name for name, kind in zip(columns, kinds, strict=True) if kind != SCALAR), None)
        if wrong is not None:
            raise DataError(f"column {wrong!r} is stacked with others and must hold numbers, one for each row")
    kind = STACKED if len(columns) > 1 or field.kind == STACKED else kinds[0]
    size = len(columns) if kind in (SCALAR, STACKED) else None
    if size is not None and size != field.size:
        raise DataError(
            f"{', '.join(map(repr, columns))} gives {size} numbers for each row, the network was made for {field.shape}"
        )
    types = tuple(time_of(_type_of(name, schema)) for name in columns)
    return replace(field, columns=tuple(columns), kind=kind, types=types if any(types) else ())


def bound_inputs(
    fields: Sequence[Field], columns: Sequence[Sequence[str]], schema: StructType | None
) -> tuple[Field, ...]:
    """Return the inputs of a network with the columns they are read from now.

    Parameters
    ----------
    fields : sequence of Field
        As the network was trained; masks, which come last, follow the columns of what they mask.
    columns : sequence of sequence of str
        For each input that is no mask.
    schema : StructType or None
        Of the DataFrame that is scored; None: the columns' types are those of the training.

    Raises
    ------
    SettingError
        If columns are named for more or fewer inputs.
    DataError
        As `bound_field`.
    """
    own = [f for f in fields if f.kind != MASK]
    if len(columns) != len(own):
        names = ", ".join(repr(name) for group in columns for name in group)
        raise SettingError(
            f"the network has {len(own)} inputs, {len(columns)} are named for it ({names}): set inputCols"
        )
    bound = [
        replace(f, columns=tuple(names)) if schema is None else bound_field(f, names, schema)
        for f, names in zip(own, columns, strict=True)
    ]
    masked = {before.columns: now for before, now in zip(own, bound, strict=True) if now.kind in (ARRAY, VECTOR)}
    masks = [
        replace(f, columns=masked[f.columns].columns, types=(masked[f.columns].kind,)) for f in fields if f.kind == MASK
    ]
    return (*bound, *masks)


def input_column(field: Field, repair: Repair) -> Column:
    """Return the expression that brings a field to the executors."""
    if field.kind == VECTOR and repair.pad_value is None and not repair.fill_value:
        wide = field.entries is not None
        return vector_parts(field.columns[0]) if wide else vector_numbers(field.columns[0])
    if field.kind == IMAGE:
        return tensor_column(field.kind, field.columns, field.dtype)
    dims = len(field.shape)
    expression = tensor_column(field.kind, field.columns, field.dtype, dims, repair.fill_value, field.types)
    if repair.pad_value is not None and field.kind in (ARRAY, VECTOR) and dims == 1:
        # Longer rows must stay too long, so that they are refused and not cut.
        missing = padded(expression, field.size, repair.pad_value, field.dtype)
        return F.when(F.size(expression) < field.size, missing).otherwise(expression)
    return expression


def is_valid(field: Field, expression: Column) -> Column:
    """Return whether a row of a field has no null, inside arrays too; what was filled is none."""
    if field.kind in (VECTOR, MASK):
        # A mask has no nulls of its own.
        return column(field.columns[0]).isNotNull()
    depth = {STACKED: 1, ARRAY: len(field.shape)}.get(field.kind, 0)
    return expression.isNotNull() & _all_present(expression, depth) if depth else expression.isNotNull()


def _all_present(value: Column, depth: int) -> Column:
    if depth == 1:
        return F.forall(value, lambda item: item.isNotNull())
    return F.forall(value, lambda item: item.isNotNull() & _all_present(item, depth - 1))


def _type_of(name: str, schema: StructType) -> DataType:
    found = [f.dataType for f in schema.fields if f.name == name] or [
        f.dataType for f in schema.fields if f.name.lower() == name.lower()
    ]
    if not found:
        raise DataError(f"column {name!r} is missing, the DataFrame has {', '.join(map(repr, schema.names))}")
    if len(found) > 1:
        raise DataError(f"column {name!r} stands {len(found)} times in the DataFrame: rename all but one of them")
    return found[0]


def _kind(name: str, kind: DataType, field: Field) -> str:
    if isinstance(kind, VectorUDT):
        return _checked_depth(name, 1, field, VECTOR)
    if isinstance(kind, ArrayType):
        depth = 1
        element = kind.elementType
        while isinstance(element, ArrayType):
            depth, element = depth + 1, element.elementType
        if isinstance(element, (NumericType, BooleanType)):
            return _checked_depth(name, depth, field, ARRAY)
    if isinstance(kind, (NumericType, BooleanType)) or time_of(kind):
        return SCALAR
    is_image = isinstance(kind, BinaryType) or (isinstance(kind, StructType) and set(kind.names) >= IMAGE_PARTS)
    if is_image and field.kind == IMAGE:
        return IMAGE
    raise DataError(
        f"column {name!r} is of type {kind.simpleString()}, the network was trained on {field.kind} rows of the shape "
        f"{field.shape}: convert the column"
    )


def _checked_depth(name: str, depth: int, field: Field, kind: str) -> str:
    if depth == len(field.shape):
        return kind
    raise DataError(
        f"column {name!r} holds arrays nested {depth} deep, the network was made for rows of the shape {field.shape} "
        f"({math.prod(field.shape)} numbers): bring the column to that shape"
    )
