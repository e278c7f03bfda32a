"""The files of a Delta table's present version, by the package deltalake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkdl.data.external.footers import SourceFile
from sparkdl.errors import DataError
from sparkdl.storage import urls

_LOG = "_delta_log"
_UNREADABLE = {"deletionVectors": "deletion vectors", "columnMapping": "column mapping"}
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"

# What object stores are told, in fsspec's words and in those of delta-rs.
_OPTIONS = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "account_name": "AZURE_STORAGE_ACCOUNT_NAME",
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
}


def is_delta(url: str, options: Mapping[str, Any]) -> bool:
    """Whether a Delta table lies at the url."""
    return urls.exists(urls.join(url, _LOG), options)


def delta_files(url: str, options: Mapping[str, Any]) -> tuple[str, list[SourceFile]]:
    """Return the folder of a table, and the files of its present version, sorted.

    Raises
    ------
    DataError
        deltalake is not installed; the table needs more than a list of files; it has no rows.
    """
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise DataError(
            f"{url} is a Delta table, and which of its files are valid only the package deltalake can tell: "
            "pip install deltalake, or read it with Spark and use make_spark_converter"
        ) from error
    folder = urls.local_path(url) if urls.is_local(url) else urls.plain(url).rstrip("/")
    table = DeltaTable(folder, storage_options=_delta_options(options))
    for feature in table.protocol().reader_features or ():
        if feature in _UNREADABLE:
            raise DataError(
                f"{url} is a Delta table with {_UNREADABLE[feature]}, so that its files do not hold its rows as they "
                "are: read it with Spark and use make_spark_converter"
            )
    partitions = table.metadata().partition_columns
    actions = table.get_add_actions(flatten=True)
    rows = _columns(actions, ["path", "size_bytes", *(f"partition.{name}" for name in partitions)])
    files = [
        SourceFile(path, size, tuple((n, _text(v)) for n, v in zip(partitions, values, strict=True)))
        for path, size, *values in zip(*rows, strict=True)
    ]
    if not files:
        raise DataError(f"the Delta table {url} has no rows")
    return folder, sorted(files, key=lambda file: file.path)


def _columns(table: Any, names: list[str]) -> list[list[Any]]:
    import pyarrow as pa

    found = pa.table(table)
    return [found.column(name).to_pylist() for name in names]


def _text(value: Any) -> str:
    return _NO_VALUE if value is None else str(value)


def _delta_options(options: Mapping[str, Any]) -> dict[str, str] | None:
    known = {_OPTIONS[name]: str(value) for name, value in options.items() if name in _OPTIONS}
    if str(options.get("endpoint_url", "")).startswith("http://"):
        known["AWS_ALLOW_HTTP"] = "true"
    return known or None
