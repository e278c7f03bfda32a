# ruff: noqa: E402
"""Data sets that Petastorm's `materialize_dataset` has written: their Unischema, rows decoded as by `make_reader`."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from sparkdl.data.readers.petastorm import compat
from sparkdl.data.types import type_of

# Petastorm cannot be imported on today's pyarrow before this.
compat.apply()

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from petastorm.unischema import Unischema, UnischemaField
from petastorm.utils import decode_row

from sparkdl.data.convert import arrow
from sparkdl.data.external.fields import Columns, first_rows, joined, named
from sparkdl.data.external.footers import COMMON_METADATA, UNISCHEMA_KEY, SourceFile
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.readers.columns import ColumnFiles, Late, Part, Rows
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, INPUT, SCALAR, DataSchema, Field
from sparkdl.storage import urls

_PLAIN = {
    "builtins": {"bool", "bytes", "float", "int", "object", "str"},
    "__builtin__": {"bool", "bytes", "float", "int", "object", "str", "unicode", "long"},
    "collections": {"OrderedDict"},
    "copy_reg": {"_reconstructor"},
    "copyreg": {"_reconstructor"},
    "decimal": {"Decimal"},
}
_RENAMED = ("av.experimental.deepdrive.dataset_toolkit.", "av.ml.dataset_toolkit.")
_PETASTORM = {"petastorm.unischema", "petastorm.codecs"}
_CLASSES = {"numpy", "pyspark.sql.types"}


class UnischemaFiles(ColumnFiles):
    """Reads ranges of rows, decoded by the codecs of the Unischema."""

    def __init__(self, manifest: Manifest, storage_options: Mapping[str, Any]) -> None:
        super().__init__(manifest, storage_options)
        self._unischema = load_unischema(manifest.url, storage_options)

    def _part(self, field: Field, columns: list[pa.Array]) -> Part:
        if len(field.columns) > 1 or self._unischema.fields[field.columns[0]].codec is None:
            return super()._part(field, columns)
        return Late(columns[0], field, self._decode)

    def _decode(self, column: pa.Array, field: Field, out: Rows) -> None:
        values = _decoded(self._unischema, field.columns[0], column)
        shapes = {value.shape for value in values}
        wanted = () if type_of(field).stackable else field.shape
        if shapes - {wanted}:
            raise DataError(
                f"column {field.columns[0]!r} has values of shape {next(iter(shapes - {wanted}))}, the first one is "
                f"{wanted}: bring all rows to one shape"
            )
        for row, value in enumerate(values):
            out[row][...] = value


def load_unischema(url: str, options: Mapping[str, Any]) -> Unischema:
    """Return the Unischema of a data set.

    Its pickle may name classes of Petastorm, numpy and Spark's types only: it runs no code from the file.

    Raises
    ------
    DataError
        There is none, or it names something else, such as a codec of the user's own.
    """
    place = urls.join(url, COMMON_METADATA)
    with urls.open_read(place, options) as stream:
        pickled = (pq.read_schema(stream).metadata or {}).get(UNISCHEMA_KEY)
    if pickled is None:
        raise DataError(f"{place} has no Unischema: the data set was not written by Petastorm's materialize_dataset")
    try:
        found = _Unpickler(io.BytesIO(pickled), encoding="utf-8").load()
    except (pickle.UnpicklingError, AttributeError, EOFError, ImportError) as error:
        raise DataError(f"the Unischema in {place} cannot be read: {error}") from error
    if not isinstance(found, Unischema):
        raise DataError(f"the Unischema in {place} is a {type(found).__name__}")
    return found


def schema_of_rows(
    unischema: Unischema,
    url: str,
    files: Sequence[SourceFile],
    options: Mapping[str, Any],
    columns: Columns,
    dtype: str | None,
) -> DataSchema:
    """Return the fields that the named columns of a data set make, with the shapes of its first row.

    Raises
    ------
    DataError
        A field that is missing, or holds text.
    """
    fields = []
    for name, group in named(columns, list(unischema.fields)).items():
        parts = [_field(unischema.fields[column], dtype) for column in group]
        for part in parts:
            if len(parts) > 1 and (not type_of(part).stackable or unischema.fields[part.name].codec is not None):
                raise DataError(f"field {part.name!r} cannot be stacked to {name!r}: give it a name of its own")
        fields.append(joined(name, group, parts))
    schema = DataSchema(tuple(fields))
    if all(field.known for field in fields):
        return schema
    return schema.resolved(_first_shapes(unischema, [f for f in fields if not f.known], url, files, options))


def _field(field: UnischemaField, dtype: str | None) -> Field:
    shape = tuple(-1 if dimension is None else int(dimension) for dimension in field.shape)
    kind = np.dtype(field.numpy_dtype).kind if field.numpy_dtype not in (str, bytes) else "U"
    if kind not in "biuf":
        raise DataError(
            f"field {field.name!r} of the Unischema is {np.dtype(field.numpy_dtype).name} and cannot go into a network "
            "(numbers and arrays of numbers can): leave it out by columns=[...]"
        )
    own = np.dtype(field.numpy_dtype)
    if shape and own == np.uint8:
        number = "uint8"
    elif kind == "f":
        number = dtype or ("float64" if own.itemsize == 8 else "float32")
    else:
        number = "int64"
    return Field(field.name, INPUT, ARRAY if shape else SCALAR, (field.name,), number, shape or (1,))


def _first_shapes(
    unischema: Unischema, fields: Sequence[Field], url: str, files: Sequence[SourceFile], options: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    found = first_rows(url, files, options, [field.columns[0] for field in fields])
    if found is None:
        return {}
    row = found[1].slice(0, 1)
    return {f.name: _first_shape(unischema, f, row.column(f.columns[0]).chunk(0)) for f in fields}


def _first_shape(unischema: Unischema, field: Field, row: pa.Array) -> tuple[int, ...]:
    name = field.columns[0]
    if row.null_count:
        raise DataError(f"column {name!r} has a null in the first row: remove rows with nulls")
    if unischema.fields[name].codec is None:
        return tuple(int(dimension) for dimension in arrow.row_shapes(row, len(field.shape))[0])
    return tuple(_decoded(unischema, name, row)[0].shape)


def _decoded(unischema: Unischema, name: str, column: pa.Array) -> list[npt.NDArray[Any]]:
    try:
        return [np.asarray(decode_row({name: value}, unischema)[name]) for value in column.to_pylist()]
    except Exception as error:
        # Petastorm says which field, not why.
        cause = error.__context__ or error.__cause__ or error
        if isinstance(cause, NameError):
            raise DataError(
                f"field {name!r} is a compressed image, which Petastorm decodes by OpenCV: "
                "pip install opencv-python-headless on every host"
            ) from error
        raise DataError(f"field {name!r} cannot be decoded by its codec: {cause}") from error


class _Unpickler(pickle.Unpickler):
    """Finds the classes that a Unischema is made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        for prefix in _RENAMED:
            if module.startswith(prefix):
                module = "petastorm." + module.removeprefix(prefix)
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if module in _PETASTORM or module in _CLASSES or module.startswith("numpy."):
            found = self._own_class(module, name)
            if found is not None:
                return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only Petastorm's own codecs and types are read")

    def _own_class(self, module: str, name: str) -> Any:
        if "." in name:
            return None
        found = super().find_class(module, name)
        if not isinstance(found, type):
            return None
        if module.startswith("numpy"):
            return found if issubclass(found, np.generic | np.dtype) else None
        return found if found.__module__ == module else None
