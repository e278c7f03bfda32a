"""Existing Parquet as a source: exact rows by any layout, what its columns become, what is refused."""

from __future__ import annotations

import datetime
import io
import itertools
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sparkdl.data import SparkDatasetConverter, open_parquet
from sparkdl.data.readers import columns as columns_reader
from sparkdl.errors import DataError, SettingError

counter = itertools.count()


def write(folder: Path, layout: Sequence[Sequence[int]]) -> None:
    """Files with row groups of these sizes; row number i has id = i, a = i / 2, b = -i, list = [i, i + 1]."""
    folder.mkdir()
    first = 0
    for number, groups in enumerate(layout):
        schema = pa.schema({"id": pa.int32(), "a": pa.float64(), "b": pa.int16(), "list": pa.list_(pa.float32())})
        with pq.ParquetWriter(folder / f"part-{number}.parquet", schema) as writer:
            for rows in groups:
                ids = np.arange(first, first + rows)
                values = pa.array([[float(i), i + 1.0] for i in ids], pa.list_(pa.float32()))
                table = pa.table(
                    [pa.array(ids, pa.int32()), ids / 2, pa.array(-ids, pa.int16()), values], schema=schema
                )
                writer.write_table(table)
                first += rows
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".hidden.parquet").write_bytes(b"no Parquet")


def batches(converter: SparkDatasetConverter, size: int = 1, **arguments: Any) -> list[list[dict[str, torch.Tensor]]]:
    """The batches of one epoch on each rank."""
    ranks = []
    for rank in range(size):
        with converter.make_torch_dataloader(num_epochs=1, cur_shard=rank, shard_count=size, **arguments) as loader:
            ranks.append(list(loader))
    return ranks


def whole(converter: SparkDatasetConverter) -> dict[str, torch.Tensor]:
    """All rows in the order of the files."""
    ((batch,),) = batches(converter, batch_size=max(1, len(converter)), shuffle=False)
    return batch


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layout=st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=4),
    batch_size=st.integers(1, 20),
    size=st.integers(1, 8),
    window=st.integers(1, 40),
    shuffle=st.booleans(),
)
def test_every_row_once_and_equal_steps_on_any_number_of_ranks(
    tmp_path: Path, layout: list[list[int]], batch_size: int, size: int, window: int, shuffle: bool
) -> None:
    folder = tmp_path / str(next(counter))
    write(folder, layout)
    total = sum(map(sum, layout))
    converter = open_parquet(str(folder), columns={"id": "id", "pair": ["a", "b"], "list": "list"}, dtype="float64")
    assert len(converter) == total
    ranks = batches(
        converter, size, batch_size=batch_size, shuffling_queue_capacity=window, shuffle=shuffle, workers_count=2
    )
    assert {len(rank) for rank in ranks} == {-(-total // (batch_size * size))}
    ids = []
    for batch in itertools.chain(*ranks):
        ids += batch["id"].tolist()
        assert torch.equal(batch["pair"], torch.stack([batch["id"] / 2, -batch["id"].double()], 1))
        assert torch.equal(batch["list"], torch.stack([batch["id"], batch["id"] + 1], 1).double())
    assert sorted(ids) == list(range(total))


def test_large_row_groups_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rows", [[100], [120, 7]])
    read: list[tuple[int, int]] = []
    original = columns_reader.ColumnFiles._decoded

    def counting(self: Any, wanted: Any) -> pa.Table:
        read.append((wanted.file, wanted.row_group))
        return original(self, wanted)

    monkeypatch.setattr(columns_reader.ColumnFiles, "_decoded", counting)
    converter = open_parquet(str(tmp_path / "rows"), ["id"])
    (rank,) = batches(converter, batch_size=10, shuffling_queue_capacity=40, workers_count=3)
    assert sorted(itertools.chain(*(batch["id"].tolist() for batch in rank))) == list(range(227))
    # 8 shards make 7 borders inside row groups: a group with a border may be decoded once for each side.
    assert len(read) <= 3 + 7


def test_what_columns_become(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((2, 3, 3), 51, dtype=np.uint8)).save(stream, "png")
    when = datetime.datetime(2001, 9, 9, 1, 46, 40, 500_000)
    vectors = [
        {"type": 0, "size": 3, "indices": [1], "values": [0.5]},
        {"type": 1, "size": None, "indices": None, "values": [1.0, 2.0, 3.0]},
    ]
    vector_type = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    table = pa.table(
        {
            "vector": pa.array(vectors, vector_type),
            "bool": [True, False],
            "decimal": [Decimal("1.25"), Decimal("-2.5")],
            "float": pa.array([0.1, 0.2], pa.float32()),
            "double": [0.1, 0.2],
            "date": [datetime.date(1970, 1, 11), datetime.date(1969, 12, 31)],
            "time": pa.array([when, when], pa.timestamp("us")),
            "nested": [[[1, 2, 3]], [[4, 5, 6]]],
            "bytes": pa.array([b"abcd", b"efgh"], pa.binary(4)),
            "image": [stream.getvalue()] * 2,
            "x.y": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "one.parquet")
    batch = whole(open_parquet((tmp_path / "one.parquet").as_uri(), dtype=None))
    assert batch["vector"].tolist() == [[0, 0.5, 0], [1, 2, 3]]
    assert batch["bool"].tolist() == [1, 0]
    assert batch["decimal"].tolist() == [1.25, -2.5]
    assert batch["float"].dtype == torch.float32
    assert batch["double"].tolist() == [0.1, 0.2]
    assert batch["date"].tolist() == [10, -1]
    assert batch["time"].tolist() == [1_000_000_000] * 2
    assert batch["nested"].tolist() == [[[1, 2, 3]], [[4, 5, 6]]]
    assert batch["bytes"].tolist() == [list(b"abcd"), list(b"efgh")]
    assert torch.allclose(batch["image"], torch.full((2, 3, 2, 3), 0.2))
    assert batch["x.y"].tolist() == [1, 2]
    assert whole(open_parquet(str(tmp_path), ["double"]))["double"].dtype == torch.float32


def test_partition_folders_are_columns(tmp_path: Path) -> None:
    for year, part in ((2020, 1.5), (2021, 2.0)):
        folder = tmp_path / f"year={year}" / f"part={part}" / "name=x%20y"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": [year, year + 10]}), folder / "a.parquet")
    converter = open_parquet(str(tmp_path))
    batch = whole(converter)
    assert set(batch) == {"id", "year", "part"}
    assert batch["year"].tolist() == [2020, 2020, 2021, 2021]
    assert batch["part"].tolist() == [1.5, 1.5, 2, 2]
    stacked = whole(open_parquet(str(tmp_path), {"x": ["id", "part"]}))["x"]
    assert stacked.tolist() == [[2020, 1.5], [2030, 1.5], [2021, 2], [2031, 2]]
    with pytest.raises(DataError, match="column 'name' is not in the files"):
        open_parquet(str(tmp_path), ["name"])


@pytest.mark.parametrize("statistics", [True, False])
def test_nulls_are_counted_over_all_files(tmp_path: Path, statistics: bool) -> None:
    lists = [[1.0], None, [2.0], [None]]
    for number in range(3):
        table = pa.table({"x": [1, None, 3, None], "y": [1.0, 2.0, 3.0, 4.0], "z": pa.array(lists)})
        pq.write_table(table, tmp_path / f"{number}.parquet", write_statistics=statistics, row_group_size=3)
    with pytest.raises(DataError, match="column 'x' has 6 rows with a null"):
        open_parquet(str(tmp_path), ["x", "y"])
    with pytest.raises(DataError, match="column 'z' has 6 rows with a null"):
        open_parquet(str(tmp_path), ["z"])
    assert len(open_parquet(str(tmp_path), ["y"])) == 12


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Parquet file in"):
        open_parquet(str(tmp_path))
    pq.write_table(pa.table({"x": [1.0], "name": ["a"], "list": [[1, 2]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'name' is string and cannot go"):
        open_parquet(str(tmp_path))
    with pytest.raises(DataError, match=r"column 'y' is not in the files \(they have 'x', 'name', 'list'\)"):
        open_parquet(str(tmp_path), ["y"])
    with pytest.raises(DataError, match="'list' is list.* cannot be one of the 2 columns that are stacked to 'both'"):
        open_parquet(str(tmp_path), {"both": ["x", "list"]})
    for columns in ([], {"x": []}, "x"):
        with pytest.raises(SettingError, match="columns="):
            open_parquet(str(tmp_path), columns)
    for other, message in (
        (pa.table({"x": [[1.0]]}), "b.parquet has column 'x' as list.*, the first file as number"),
        (pa.table({"y": [1.0]}), "b.parquet has no column 'x'"),
    ):
        pq.write_table(other, tmp_path / "b.parquet")
        with pytest.raises(DataError, match=message):
            open_parquet(str(tmp_path), ["x"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 is not all")
    with pytest.raises(DataError, match=r"b.parquet cannot be read"):
        open_parquet(str(tmp_path), ["x"])


def test_rows_that_only_reading_can_refuse(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0]], "p": [b"no", b"image"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'x' has 1 of 2 rows of length 1, 2 is needed.*row group 0 of .*a.parquet"):
        whole(open_parquet(str(tmp_path), ["x"]))
    with pytest.raises(DataError, match="'p' is no JPEG"):
        open_parquet(str(tmp_path), ["p"])
    converter = open_parquet(str(tmp_path), ["x"])
    pq.write_table(pa.table({"x": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet has \d+ bytes"):
        whole(converter)
    converter.delete()
    assert (tmp_path / "a.parquet").exists()
