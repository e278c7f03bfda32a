"""What reads the row groups of each format of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkdl.data.format.manifest import COLUMNS, UNISCHEMA, Manifest
from sparkdl.data.readers.packed import RowGroupFiles


def open_files(manifest: Manifest, storage_options: Mapping[str, Any]) -> RowGroupFiles:
    """Return the files of a manifest, ready to be read by several threads."""
    if manifest.format == COLUMNS:
        from sparkdl.data.readers.columns import ColumnFiles

        return ColumnFiles(manifest, storage_options)
    if manifest.format == UNISCHEMA:
        from sparkdl.data.readers.petastorm.unischema import UnischemaFiles

        return UnischemaFiles(manifest, storage_options)
    return RowGroupFiles(manifest, storage_options)
