"""The loader on real files, by both readers: exact rows, the same batches on any number of ranks, and broken files."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from sparkdl.data.external.listing import manifest_of
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading import loader as loader_module
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.readers.packed import RowGroupFiles
from sparkdl.data.sampling.plan import Plan, RowRange
from sparkdl.errors import DataError, SettingError
from sparkdl.schema import ARRAY, IMAGE, INPUT, LABEL, SCALAR, WEIGHT, DataSchema, Field

READERS = ["arrow", "petastorm"]
SCHEMA = DataSchema(
    (
        Field("x", INPUT, ARRAY, ("x",), "float32", (3,)),
        Field("id", LABEL, SCALAR, ("id",), "int64", (1,)),
        Field("w", WEIGHT, SCALAR, ("w",), "float32", (1,)),
    )
)
counter = itertools.count()


def write(folder: Path, layout: Sequence[Sequence[int]]) -> Manifest:
    """Files with row groups of these sizes; row number i has x = (i, i, i), id = i, w = i / 2."""
    folder.mkdir()
    packing = RowLayout.of(SCHEMA)
    files, first = [], 0
    for number, groups in enumerate(layout):
        path = folder / f"part-{number}.parquet"
        with pq.ParquetWriter(path, packing.arrow_schema, compression="NONE", use_dictionary=False) as writer:
            for rows in groups:
                ids = np.arange(first, first + rows)[:, None]
                packed = packing.pack({"x": np.repeat(ids, 3, 1), "id": ids, "w": ids / 2})
                if rows:
                    writer.write_table(packing.to_table([packed]))
                else:
                    writer.write_table(packing.arrow_schema.empty_table())
                first += rows
        real = pq.ParquetFile(path).metadata
        sizes = tuple(real.row_group(g).num_rows for g in range(real.num_row_groups))
        assert sum(sizes) == sum(groups)
        files.append(DataFile(path.name, number, 0, sizes, path.stat().st_size, host="somewhere"))
    return Manifest(str(folder), SCHEMA, tuple(files))


def ids_of(batches: Iterator[Batch]) -> list[list[int]]:
    steps = []
    for batch in batches:
        ids = batch.targets[0]
        assert ids.dtype == torch.int64
        assert torch.equal(batch.inputs[0], ids.to(torch.float32).expand(-1, 3))
        assert batch.weights is not None
        assert torch.equal(batch.weights, ids[:, 0] / 2)
        assert batch.inputs[0].is_contiguous()
        steps.append(ids[:, 0].tolist())
    return steps


@pytest.mark.parametrize("reader", READERS)
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layout=st.lists(st.lists(st.integers(0, 30), max_size=5), min_size=1, max_size=4),
    batch_size=st.integers(1, 40),
    shuffle=st.booleans(),
    window=st.integers(1, 60),
    sizes=st.lists(st.integers(1, 8), min_size=2, max_size=2),
    data=st.data(),
)
def test_every_row_once_and_the_same_steps_on_any_number_of_ranks(
    tmp_path: Path,
    reader: str,
    layout: list[list[int]],
    batch_size: int,
    shuffle: bool,
    window: int,
    sizes: list[int],
    data: st.DataObject,
) -> None:
    manifest = write(tmp_path / str(next(counter)), layout)
    plan = Plan.of(manifest, batch_size=batch_size, seed=3, shuffle=shuffle, window=window)
    start = data.draw(st.integers(0, plan.steps), label="start_step")
    union: list[list[list[int]]] = []
    for size in sizes:
        loaders = [Loader(manifest, plan, rank, size, reader=reader) for rank in range(size)]
        whole = [ids_of(loader.epoch(2)) for loader in loaders]
        rest = [ids_of(loader.epoch(2, start)) for loader in loaders]
        for loader in loaders:
            loader.close()
        assert all(len(steps) == plan.steps for steps in whole)
        assert rest == [steps[start:] for steps in whole]
        union.append([sorted(itertools.chain(*parts)) for parts in zip(*whole, strict=True)])
    assert union[0] == union[1]
    assert sorted(itertools.chain(*union[0])) == list(range(sum(map(sum, layout))))
    if not shuffle:
        assert list(itertools.chain(*union[0])) == list(range(plan.rows))


@pytest.mark.parametrize("reader", READERS)
def test_threads_change_nothing_and_readers_agree(tmp_path: Path, reader: str) -> None:
    manifest = write(tmp_path / "rows", [[40, 7, 100], [1], [64] * 5])
    plan = Plan.of(manifest, batch_size=33, window=120)
    orders = []
    for threads in (1, 3):
        with_threads = Loader(manifest, plan, 0, 1, reader=reader, threads=threads)
        orders.append([ids_of(with_threads.epoch(epoch)) for epoch in range(2)])
        with_threads.close()
    by_arrow = Loader(manifest, plan, 0, 1, reader="arrow")
    orders.append([ids_of(by_arrow.epoch(epoch)) for epoch in range(2)])
    by_arrow.close()
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][0] != orders[0][1]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_steps_that_are_put_together_in_runs_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    manifest = write(tmp_path / "rows", [[300, 7, 100], [1], [200] * 5])
    plan = Plan.of(manifest, batch_size=16, window=160)
    sizes: list[int] = []
    original = Loader._to_batches
    monkeypatch.setattr(
        Loader, "_to_batches", lambda self, run, step: sizes.append(len(run.sizes)) or original(self, run, step)
    )
    epochs = []
    for run_bytes in (1, 1 << 20):
        monkeypatch.setattr(loader_module, "_RUN_BYTES", run_bytes)
        loaders = [Loader(manifest, plan, rank, ranks, reader="arrow", threads=2) for rank in range(ranks)]
        epochs.append([ids_of(loader.epoch(epoch, 3)) for loader in loaders for epoch in range(3)])
        for loader in loaders:
            loader.close()
    assert epochs[0] == epochs[1]
    assert set(sizes[: 3 * ranks * (plan.steps - 3)]) == {1}
    assert max(sizes) > 1


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("reader", READERS)
def test_row_groups_of_one_page_are_read_as_bytes_and_others_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, shuffle: bool
) -> None:
    manifest = write(tmp_path / "rows", [[200, 30], [50]])
    path, packing = tmp_path / "rows" / "part-1.parquet", RowLayout.of(SCHEMA)
    with packing.writer(path) as writer:
        ids = np.arange(230, 280)[:, None]
        writer.write_table(packing.to_table([packing.pack({"x": np.repeat(ids, 3, 1), "id": ids, "w": ids / 2})]))
    with pq.ParquetFile(tmp_path / "rows" / "part-0.parquet") as opened:
        rows = opened.read().column(0)
    with pq.ParquetWriter(
        tmp_path / "rows" / "part-0.parquet",
        packing.arrow_schema,
        compression="NONE",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=64,
        write_batch_size=16,
    ) as writer:
        for first, count in ((0, 200), (200, 30)):
            writer.write_table(pa.table([rows.slice(first, count)], schema=packing.arrow_schema))
    decoded: list[int] = []
    original = RowGroupFiles._row_group
    monkeypatch.setattr(
        RowGroupFiles, "_row_group", lambda self, wanted: decoded.append(wanted.file) or original(self, wanted)
    )
    loader = Loader(manifest, Plan.of(manifest, batch_size=16, shuffle=shuffle), 0, 1, reader=reader)
    assert sorted(itertools.chain(*ids_of(loader.epoch(0)))) == list(range(280))
    loader.close()
    assert set(decoded) == {0}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("reader", READERS)
def test_the_next_batch_is_made_while_the_step_before_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, shuffle: bool
) -> None:
    monkeypatch.setattr(loader_module, "_RUN_BYTES", 1)
    manifest = write(tmp_path / "rows", [[50] * 10])
    plan = Plan.of(manifest, batch_size=20, window=80, shuffle=shuffle)
    loader = Loader(manifest, plan, 0, 1, reader=reader, prefetch=1)
    batches = loader.epoch(0)
    for _ in range(plan.steps):
        next(batches)
        # This is the step: nobody asks for a batch, and yet the next one, or the end, has to come.
        assert loader._running is not None
        deadline = time.monotonic() + 60
        while loader._running._queue.empty():
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert next(batches, None) is None
    loader.close()


def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[100]])
    packing, path = RowLayout.of(SCHEMA), tmp_path / "rows" / "part-0.parquet"
    ids = np.arange(100)[:, None]
    with packing.writer(path) as writer:
        writer.write_table(packing.to_table([packing.pack({"x": np.repeat(ids, 3, 1), "id": ids, "w": ids / 2})]))
    files = RowGroupFiles(manifest, {})
    files.open_all()
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"part-0.parquet.* row group 0 ends too early"):
        files.read(RowRange(0, 0, 0, 100))
    files.close()


def test_sorted_rows_are_spread_over_the_batches(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[500] * 10] * 4)
    loader = Loader(manifest, Plan.of(manifest, batch_size=256), 0, 1, reader="arrow")
    spreads = [np.std(ids) for ids in ids_of(loader.epoch(0))[:-1]]
    loader.close()
    assert np.mean(spreads) > 0.95 * np.std(np.arange(20_000))


@pytest.mark.parametrize("reader", READERS)
def test_leaving_early_ends_the_threads_and_the_next_epoch_is_whole(tmp_path: Path, reader: str) -> None:
    before = set(threading.enumerate())
    manifest = write(tmp_path / "rows", [[50] * 20])
    loader = Loader(manifest, Plan.of(manifest, batch_size=10, window=64), 0, 1, reader=reader, threads=2)
    for _ in range(3):
        left = loader.epoch(0)
        next(left)
        left.close()  # type: ignore[attr-defined]
    assert sorted(itertools.chain(*ids_of(loader.epoch(0)))) == list(range(1000))
    assert loader.wait_seconds > 0
    loader.close()
    loader.close()
    # A pool's worker is done when it has answered its sentinel, which takes a moment.
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_missing_or_surplus_row_names_the_file_and_both_counts(tmp_path: Path, reader: str, change: int) -> None:
    manifest = write(tmp_path / "rows", [[20, 20], [20]])
    write(tmp_path / "other", [[20, 20], [20 + change]])
    (tmp_path / "other" / "part-1.parquet").replace(tmp_path / "rows" / "part-1.parquet")
    loader = Loader(manifest, Plan.of(manifest, batch_size=16), 0, 1, reader=reader)
    with pytest.raises(DataError, match=rf"part-1.parquet has {20 + change} rows.* 20 rows"):
        list(loader.epoch(0))
    loader.close()


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_gone_or_broken_is_named(tmp_path: Path, reader: str) -> None:
    manifest = write(tmp_path / "rows", [[20], [20]])
    loader = Loader(manifest, Plan.of(manifest, batch_size=16), 0, 1, reader=reader)
    list(loader.epoch(0))
    loader.close()
    (tmp_path / "rows" / "part-1.parquet").write_bytes(b"PAR1 no longer")
    loader = Loader(manifest, Plan.of(manifest, batch_size=16), 0, 1, reader=reader)
    with pytest.raises(DataError, match=r"part-1.parquet"):
        list(loader.epoch(0))
    loader.close()


def test_check_names_the_host_whose_files_are_not_here(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[5], [5]])
    Loader(manifest, Plan.of(manifest, batch_size=2), 0, 1).check()
    moved = replace(manifest.files[1], host="far-away", path="part-9.parquet")
    elsewhere = replace(manifest, files=(manifest.files[0], moved))
    with pytest.raises(DataError, match=r"part-9.parquet, written on host far-away: set cacheUrl"):
        Loader(elsewhere, Plan.of(elsewhere, batch_size=2), 0, 1).check()
    (tmp_path / "rows" / "part-0.parquet").write_bytes(b"short")
    with pytest.raises(DataError, match="has 5 bytes"):
        Loader(manifest, Plan.of(manifest, batch_size=2), 0, 1).check()


def test_more_ranks_than_shards_are_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[5]])
    with pytest.raises(SettingError, match="canonicalShards"):
        Loader(manifest, Plan.of(manifest, batch_size=2, canonical_shards=2), 2, 3)


def test_a_reader_that_does_not_exist_is_named(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[5]])
    loader = Loader(manifest, Plan.of(manifest, batch_size=2), 0, 1, reader="tape")
    with pytest.raises(SettingError, match="'tape' is unknown: choose 'petastorm' or 'arrow'"):
        list(loader.epoch(0))
    loader.close()


def test_no_rows_are_no_steps() -> None:
    manifest = Manifest("nowhere", DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (-1,)),)), ())
    loader = Loader(manifest, Plan.of(manifest, batch_size=4), 0, 1)
    assert loader.steps == loader.rows == len(list(loader.epoch(0))) == 0
    loader.check()
    loader.close()


def test_images_wait_as_bytes_and_become_floats_between_zero_and_one(tmp_path: Path) -> None:
    schema = DataSchema((Field("image", INPUT, IMAGE, ("image",), "float32", (3, 4, 5)),))
    layout = RowLayout.of(schema)
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
    path = tmp_path / "part.parquet"
    pq.write_table(layout.to_table([layout.pack({"image": images})]), path)
    manifest = Manifest(str(tmp_path), schema, (DataFile(path.name, 0, 0, (7,), path.stat().st_size),))
    loader = Loader(manifest, Plan.of(manifest, batch_size=7, shuffle=False), 0, 1)
    (batch,) = loader.epoch(0)
    loader.close()
    assert torch.equal(batch.inputs[0], torch.from_numpy(images))
    (numbers,) = batch.for_network(batch.inputs)
    assert torch.equal(numbers, torch.from_numpy(images).to(torch.float32) / 255)
    assert batch.targets == ()
    assert batch.weights is None


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path / "rows", [[4]])
    pq.write_table(pa.table({"a": [1.0] * 4}), tmp_path / "rows" / "part-0.parquet")
    loader = Loader(manifest, Plan.of(manifest, batch_size=4), 0, 1)
    with pytest.raises(DataError, match="not packed rows of 32 bytes"):
        list(loader.epoch(0))
    loader.close()


@pytest.mark.parametrize("shuffle", [True, False])
def test_encoded_images_are_the_same_for_the_network_however_they_lie_in_memory(tmp_path: Path, shuffle: bool) -> None:
    images = np.random.default_rng(1).integers(0, 256, (30, 4, 5, 3), dtype=np.uint8)
    encoded = []
    for image in images:
        sink = io.BytesIO()
        Image.fromarray(image).save(sink, "PNG")
        encoded.append(sink.getvalue())
    table = pa.table({"image": pa.array(encoded, pa.binary()), "number": np.arange(30)})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=8)
    manifest = manifest_of(str(tmp_path), None, None, {}, lambda task: task.read(range(len(task.files))))
    loader = Loader(manifest, Plan.of(manifest, batch_size=7, shuffle=shuffle, window=16), 0, 1)
    seen: list[int] = []
    for batch in loader.epoch(0):
        number = batch.inputs[1].reshape(-1)
        pixels, same = batch.for_network(batch.inputs)
        assert batch.inputs[0].dtype == torch.uint8
        assert pixels.stride() == batch.inputs[0].stride()
        assert same is batch.inputs[1]
        expected = torch.from_numpy(images)[number].permute(0, 3, 1, 2).to(torch.float32) / 255
        assert torch.equal(pixels, expected)
        seen += number.tolist()
    loader.close()
    assert sorted(seen) == list(range(30))
    assert (seen == sorted(seen)) is not shuffle
