"""The loader for one's own loop: every row once over the ranks, equal steps, passes that begin again or are left."""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sparkdl.data.converter.dataset import SparkDatasetConverter
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.errors import DataError, SettingError
from sparkdl.schema import ARRAY, INPUT, SCALAR, DataSchema, Field

SCHEMA = DataSchema(
    (Field("id", INPUT, SCALAR, ("id",), "int64", (1,)), Field("x", INPUT, ARRAY, ("x",), "float64", (2,)))
)
counter = itertools.count()


def write(folder: Path, layout: Sequence[Sequence[int]]) -> SparkDatasetConverter:
    """Files with row groups of these sizes; row number i has id = i, x = (i, -i)."""
    folder.mkdir()
    packing = RowLayout.of(SCHEMA)
    files, first = [], 0
    for number, groups in enumerate(layout):
        path = folder / f"part-{number}.parquet"
        with pq.ParquetWriter(path, packing.arrow_schema, compression="NONE", use_dictionary=False) as writer:
            for rows in groups:
                ids = np.arange(first, first + rows)[:, None]
                writer.write_table(packing.to_table([packing.pack({"id": ids, "x": np.hstack([ids, -ids])})]))
                first += rows
        files.append(DataFile(path.name, number, 0, tuple(groups), path.stat().st_size))
    return SparkDatasetConverter(Manifest(str(folder), SCHEMA, tuple(files)), dtype="float64")


@pytest.fixture
def converter(tmp_path: Path) -> SparkDatasetConverter:
    return write(tmp_path / "rows", [[10, 1], [25]])


@pytest.fixture(autouse=True)
def no_ranks_and_no_threads_left(monkeypatch: pytest.MonkeyPatch) -> object:
    for name in ("RANK", "WORLD_SIZE", "HOROVOD_RANK", "HOROVOD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(threading.enumerate()) <= before


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layout=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=4), max_size=4),
    batch_size=st.integers(1, 16),
    size=st.integers(1, 16),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_every_row_once_and_equal_steps_on_any_number_of_ranks(
    tmp_path: Path, layout: list[list[int]], batch_size: int, size: int, shuffle: bool, drop_last: bool
) -> None:
    rows = write(tmp_path / str(next(counter)), layout)
    total = sum(map(sum, layout))
    assert len(rows) == total
    steps, left = divmod(total, batch_size * size)
    epochs: list[list[int]] = [[], []]
    for rank in range(size):
        with rows.make_torch_dataloader(
            batch_size, 2, 1, 30, cur_shard=rank, shard_count=size, shuffle=shuffle, drop_last=drop_last
        ) as loader:
            batches = list(loader)
        per_epoch = steps + bool(left and not drop_last)
        assert len(batches) == len(loader) == 2 * loader.steps_per_epoch == 2 * per_epoch
        for number, batch in enumerate(batches):
            ids = batch["id"]
            assert ids.shape == (len(ids),)
            assert batch["x"].dtype == torch.float64
            assert torch.equal(batch["x"], torch.stack([ids, -ids], 1).to(torch.float64))
            if number % per_epoch < steps:
                assert len(ids) == batch_size
            else:
                assert left // size <= len(ids) <= -(-left // size)
            epochs[number // per_epoch] += ids.tolist()
    if drop_last:
        assert all(len(set(ids)) == len(ids) == total - left for ids in epochs)
    else:
        assert all(sorted(ids) == list(range(total)) for ids in epochs)


def test_passes_go_on_counting_epochs_and_the_seed_repeats_them(converter: SparkDatasetConverter) -> None:
    def orders(seed: int) -> list[list[int]]:
        with converter.make_torch_dataloader(7, num_epochs=1, seed=seed) as loader:
            return [torch.cat([batch["id"] for batch in loader]).tolist() for _ in range(3)]

    first = orders(1)
    assert first == orders(1)
    assert first != orders(2)
    assert len({tuple(order) for order in first}) == 3
    with converter.make_torch_dataloader(7, num_epochs=3, seed=1) as loader:
        assert torch.cat([batch["id"] for batch in loader]).tolist() == list(itertools.chain(*first))
    with converter.make_torch_dataloader(7, num_epochs=1, shuffling_queue_capacity=0) as loader:
        assert torch.cat([batch["id"] for batch in loader]).tolist() == list(range(36))


def test_without_end_and_left_at_any_time(converter: SparkDatasetConverter) -> None:
    with converter.make_torch_dataloader(10) as loader:
        with pytest.raises(TypeError, match="steps_per_epoch"):
            len(loader)
        endless = iter(loader)
        rows = [next(endless)["id"].tolist() for _ in range(3 * loader.steps_per_epoch)]
        for epoch in range(3):
            assert sorted(itertools.chain(*rows[4 * epoch : 4 * epoch + 4])) == list(range(36))
        for batch in loader:
            assert len(batch["id"]) == 10
            break
        with pytest.raises(DataError, match="a newer pass"):
            next(endless)
        whole = [batch["id"].tolist() for batch in itertools.islice(loader, 4)]
        assert sorted(itertools.chain(*whole)) == list(range(36))
        suspended = iter(loader)
        next(suspended)
    with pytest.raises(DataError, match="closed"):
        next(suspended)
    with pytest.raises(DataError, match="inside `with"):
        iter(loader)
    with loader:
        assert len(next(iter(loader))["id"]) == 10


def test_a_rank_is_found_by_its_environment(converter: SparkDatasetConverter, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {}
    for names in (("RANK", "WORLD_SIZE"), ("HOROVOD_RANK", "HOROVOD_SIZE")):
        with monkeypatch.context() as environment:
            environment.setenv(names[1], "3")
            for rank in range(3):
                environment.setenv(names[0], str(rank))
                with converter.make_torch_dataloader(5, 1) as loader:
                    shares[names[0], rank] = torch.cat([batch["id"] for batch in loader]).tolist()
    assert sorted(itertools.chain(*(shares["RANK", rank] for rank in range(3)))) == list(range(36))
    assert [shares["RANK", rank] for rank in range(3)] == [shares["HOROVOD_RANK", rank] for rank in range(3)]


def test_arguments_that_cannot_be(converter: SparkDatasetConverter) -> None:
    for arguments, message in (
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1.5}, "batch_size=1.5"),
        ({"num_epochs": 0}, "num_epochs=0"),
        ({"cur_shard": 1}, "shard_count=None: give both"),
        ({"cur_shard": 2, "shard_count": 2}, "cur_shard=2 is not one of the shard_count=2"),
        ({"transform_spec": 3}, "transform_spec=3 is neither"),
    ):
        with pytest.raises(SettingError, match=message):
            converter.make_torch_dataloader(**arguments)
    with pytest.raises(TypeError, match="batchsize"):
        converter.make_torch_dataloader(batchsize=32)


def test_a_copy_reads_but_does_not_delete(converter: SparkDatasetConverter) -> None:
    removed: list[int] = []
    owner = SparkDatasetConverter(
        converter._manifest, dtype=None, storage_options={"key": "secret"}, remove=lambda: removed.append(1)
    )
    copy = pickle.loads(pickle.dumps(owner))
    assert len(copy) == 36
    assert "secret" not in repr(copy)
    with copy.make_torch_dataloader(36, 1) as loader:
        assert sorted(next(iter(loader))["id"].tolist()) == list(range(36))
    with pytest.raises(SettingError, match="where it was made"):
        copy.delete()
    owner.delete()
    owner.delete()
    assert removed == [1]
    with pytest.raises(DataError, match="are deleted"):
        owner.make_torch_dataloader()


def test_a_function_of_tensors(converter: SparkDatasetConverter) -> None:
    def double(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"twice": batch["id"] * 2}

    with converter.make_torch_dataloader(10, 1, transform_spec=double) as loader:
        assert sorted(torch.cat([batch["twice"] for batch in loader]).tolist()) == list(range(0, 72, 2))
        next(iter(loader))

    def fail(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        raise ZeroDivisionError("mine")

    with (
        converter.make_torch_dataloader(10, 1, transform_spec=fail) as loader,
        pytest.raises(ZeroDivisionError, match="mine"),
    ):
        next(iter(loader))
    with (
        converter.make_torch_dataloader(10, 1, transform_spec=lambda batch: 3) as loader,
        pytest.raises(DataError, match="returned int"),
    ):
        next(iter(loader))


def test_petastorms_transform_spec(converter: SparkDatasetConverter) -> None:
    from sparkdl.data.readers.petastorm import compat

    compat.apply()
    from petastorm.transform import TransformSpec

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame["image"] = [np.full((2, 2), number) for number in frame["id"]]
        frame["half"] = frame["x"].map(lambda x: x[0] / 2)
        return frame.drop(columns="x")

    edited = [("image", np.float32, (2, 2), False), ("half", np.float64, (), False)]
    spec = TransformSpec(change, edit_fields=edited, removed_fields=["x"])
    with converter.make_torch_dataloader(10, 1, transform_spec=spec) as loader:
        for batch in loader:
            assert list(batch) == ["id", "image", "half"]
            assert batch["image"].dtype == torch.float32
            assert torch.equal(batch["image"], batch["id"][:, None, None].expand(-1, 2, 2).float())
            assert torch.equal(batch["half"], batch["id"] / 2)
    with converter.make_torch_dataloader(10, 1, transform_spec=TransformSpec(selected_fields=["x"])) as loader:
        assert {tuple(batch) for batch in loader} == {("x",)}
    wrong = TransformSpec(change, edit_fields=[("image", np.float32, (3, 3), False)])
    with (
        converter.make_torch_dataloader(10, 1, transform_spec=wrong) as loader,
        pytest.raises(DataError, match="no column 'x'"),
    ):
        next(iter(loader))
    wrong = TransformSpec(change, edit_fields=[("image", np.float32, (3, 3), False)], removed_fields=["x"])
    with (
        converter.make_torch_dataloader(10, 1, transform_spec=wrong) as loader,
        pytest.raises(DataError, match=r"'image' does not hold float32 of shape \(3, 3\)"),
    ):
        next(iter(loader))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 14), st.integers(1, 3), st.booleans())
def test_another_loader_goes_on_from_a_position(
    converter: SparkDatasetConverter, batches: int, num_epochs: int, shuffle: bool
) -> None:
    def loader() -> Any:
        return converter.make_torch_dataloader(batch_size=3, num_epochs=num_epochs, shuffle=shuffle, seed=3)

    def taken(these: Any) -> list[dict[str, list[Any]]]:
        return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in these]

    with loader() as one:
        whole = taken(one)
    batches = min(batches, len(whole))
    with loader() as first:
        before = taken(itertools.islice(iter(first), batches))
        position = first.state_dict()
    with loader() as second:
        second.load_state_dict(position)
        after = taken(second)
    assert before + after == whole
