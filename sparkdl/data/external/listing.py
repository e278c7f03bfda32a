"""From a URL to the manifest of what lies there: ordinary Parquet, a data set of Petastorm's, or a Delta table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sparkdl.data.external.delta import delta_files, is_delta
from sparkdl.data.external.fields import Columns, fields_of, first_schema, with_shapes
from sparkdl.data.external.footers import (
    COMMON_METADATA,
    UNISCHEMA_KEY,
    FooterTask,
    constants_of,
    data_files,
    kind_of,
    list_source,
)
from sparkdl.data.format.manifest import COLUMNS, UNISCHEMA, Manifest
from sparkdl.schema import DataSchema
from sparkdl.storage import urls

ReadFooters = Callable[[FooterTask], Sequence[Mapping[str, Any]]]


def manifest_of(
    url: str, columns: Columns, dtype: str | None, options: Mapping[str, Any], read_footers: ReadFooters
) -> Manifest:
    """Return the files, row groups and fields of what lies at `url`.

    Parameters
    ----------
    url, columns, dtype
        As of `open_parquet`.
    options : mapping
        For fsspec.
    read_footers : callable
        Runs a `FooterTask` over all its files, here or in Spark tasks.

    Raises
    ------
    DataError
        What lies there cannot be read as it is.
    """
    if is_delta(url, options):
        folder, files = delta_files(url, options)
    else:
        folder, files = list_source(url, options)
    stored = first_schema(folder, files, options)
    constants = dict(constants_of(files)[0])
    if _is_petastorm(folder, options):
        from sparkdl.data.readers.petastorm.unischema import load_unischema, schema_of_rows

        found = load_unischema(folder, options)
        schema = schema_of_rows(found, folder, files, options, columns, dtype)
        form = UNISCHEMA
    else:
        schema = with_shapes(fields_of(stored, constants, columns, dtype), folder, files, options)
        form = COLUMNS
    names = tuple(dict.fromkeys(name for f in schema.fields for name in f.columns if name not in constants))
    kinds = tuple(kind_of(stored.field(name).type) for name in names)
    task = FooterTask(folder, tuple(files), names, kinds, options)
    manifest = Manifest(folder, schema, tuple(data_files(folder, files, read_footers(task))), format=form)
    return _only_used(manifest, schema)


def _only_used(manifest: Manifest, schema: DataSchema) -> Manifest:
    """The same without the partition columns that are not asked for."""
    used = {name for field in schema.fields for name in field.columns}
    files = tuple(replace(f, constants=tuple(c for c in f.constants if c[0] in used)) for f in manifest.files)
    return replace(manifest, files=files)


def _is_petastorm(folder: str, options: Mapping[str, Any]) -> bool:
    import pyarrow.parquet as pq

    url = urls.join(folder, COMMON_METADATA)
    if not urls.exists(url, options):
        return False
    with urls.open_read(url, options) as stream:
        return UNISCHEMA_KEY in (pq.read_schema(stream).metadata or {})
