"""Delta tables: the files of the present version, and no others."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from sparkdl.data import open_parquet
from sparkdl.errors import DataError


def rows_of(url: str) -> list[tuple[int, ...]]:
    converter = open_parquet(url)
    with converter.make_torch_dataloader(max(1, len(converter)), 1, shuffle=False) as loader:
        return sorted(zip(*(column.tolist() for batch in loader for column in batch.values()), strict=True))


def test_only_the_present_version_is_read(tmp_path: Path) -> None:
    url = str(tmp_path / "table")
    write_deltalake(url, pa.table({"x": [1, 2, 3], "part": [0, 0, 1]}), partition_by=["part"])
    write_deltalake(url, pa.table({"x": [4], "part": [1]}), mode="append", partition_by=["part"])
    assert rows_of(url) == [(1, 0), (2, 0), (3, 1), (4, 1)]
    DeltaTable(url).delete("x = 2 or x = 4")
    assert rows_of(url) == [(1, 0), (3, 1)]
    assert len(list(Path(url).rglob("*.parquet"))) > 2
    DeltaTable(url).delete()
    with pytest.raises(DataError, match="has no rows"):
        open_parquet(url)


def test_what_a_list_of_files_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "table")
    write_deltalake(url, pa.table({"x": [1]}), configuration={"delta.enableDeletionVectors": "true"})
    with pytest.raises(DataError, match="deletion vectors"):
        open_parquet(url)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(DataError, match="pip install deltalake"):
        open_parquet(url)
