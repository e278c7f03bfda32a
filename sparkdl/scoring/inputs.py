"""The columns of a DataFrame as the inputs of a network that was trained on others, maybe of another kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sparkdl.data.types import TYPES, ColumnType, type_of
from sparkdl.errors import ColumnError, DataError, SettingError, did_you_mean, listed
from sparkdl.schema import INPUT, STACKED, Field
from sparkdl.spark.columns import type_word

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType, StructType


_MOST_NAMES = 20
"""Columns that a message lists."""


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
        wrong = next((name for name, kind in zip(columns, kinds, strict=True) if not kind.stackable), None)
        if wrong is not None:
            raise _misfit(wrong, "is stacked with others and must hold numbers, one for each row")
    kind = STACKED if len(columns) > 1 else kinds[0].kind
    if kinds[0].stackable and len(columns) != field.size:
        numbers = "1 number" if len(columns) == 1 else f"{len(columns)} numbers"
        raise DataError(
            f"{', '.join(map(repr, columns))} gives {numbers} for each row, the network was made for {field.size}: "
            f"give a column of arrays or vectors, or {field.size} names in featuresCols"
        )
    types = tuple(type_word(_type_of(name, schema), field.dtype) for name in columns)
    entries = field.entries if kind == field.kind else None
    return replace(field, columns=tuple(columns), kind=kind, types=types if any(types) else (), entries=entries)


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
    own = [f for f in fields if not type_of(f).derived]
    if len(columns) != len(own):
        names = ", ".join(repr(name) for group in columns for name in group)
        raise SettingError(
            f"the network has {'1 input' if len(own) == 1 else f'{len(own)} inputs'}, and columns for {len(columns)} "
            f"are named ({names}): set inputCols, or featuresCols for columns that are one input together"
        )
    bound = [
        replace(f, columns=tuple(names)) if schema is None else bound_field(f, names, schema)
        for f, names in zip(own, columns, strict=True)
    ]
    masked = {before.columns: now for before, now in zip(own, bound, strict=True) if type_of(now).paddable}
    masks = [
        replace(f, columns=masked[f.columns].columns, types=(masked[f.columns].kind,))
        for f in fields
        if type_of(f).derived
    ]
    return (*bound, *masks)


def is_valid(field: Field, expression: Column, fill_value: float | None) -> Column:
    """Return whether a row of a field can be scored: it has no null, inside arrays too, or nulls are filled."""
    kind = type_of(field)
    if fill_value is not None and kind.fillable:
        return F.lit(True)
    return kind.present(field, expression)


def _type_of(name: str, schema: StructType) -> DataType:
    found = [f.dataType for f in schema.fields if f.name == name] or [
        f.dataType for f in schema.fields if f.name.lower() == name.lower()
    ]
    if not found:
        hint = did_you_mean(name, schema.names, "")
        shown = listed(schema.names, _MOST_NAMES) or "no columns"
        said = f"is missing in the DataFrame{hint and f', {hint}'} (it has {shown})"
        raise _misfit(name, said)
    if len(found) > 1:
        raise _misfit(name, f"stands {len(found)} times in the DataFrame: rename all but one of them")
    return found[0]


def _kind(name: str, data_type: DataType, field: Field) -> ColumnType:
    for each in TYPES.values():
        shaped = each.of_spark(name, data_type)
        if shaped is None or each.pixels > type_of(field).pixels:
            continue
        if each.paddable and len(shaped.shape) != len(field.shape):
            raise _misfit(
                name,
                f"holds arrays nested {len(shaped.shape)} deep, the network was made for rows of the "
                f"shape {field.shape} ({math.prod(field.shape)} numbers): bring the column to that shape",
            )
        return each
    raise _misfit(
        name,
        f"is of type {data_type.simpleString()}, the network was trained on {field.kind} rows of the "
        f"shape {field.shape}: convert the column",
    )


def _misfit(name: str, said: str) -> ColumnError:
    return ColumnError([name], said, INPUT)
