"""What the feed promises, over random layouts of files: every row once, on any number of ranks, resumed anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.sampling.plan import Plan
from sparkdl.schema import INPUT, LABEL, SCALAR, DataSchema, Field

SCHEMA = DataSchema(
    (
        Field("id", INPUT, SCALAR, ("id",), "int64", (1,)),
        Field("half", LABEL, SCALAR, ("half",), "float32", (1,)),
    )
)
numbers = itertools.count()

tiny = st.lists(st.lists(st.integers(0, 2), max_size=40), min_size=1, max_size=5)
uneven = st.lists(st.lists(st.sampled_from([0, 1, 3, 50]), max_size=4), min_size=1, max_size=6)
layouts = st.one_of(tiny, uneven, st.just([[1]]), st.just([[], [0], [1]]), st.just([[0, 0], []]))


def write(folder: Path, layout: Sequence[Sequence[int]]) -> Manifest:
    """Files with row groups of these sizes; row number i has the id i."""
    folder.mkdir()
    packing = RowLayout.of(SCHEMA)
    files, first = [], 0
    for number, groups in enumerate(layout):
        path = folder / f"part-{number}.parquet"
        with pq.ParquetWriter(path, packing.arrow_schema, compression="NONE", use_dictionary=False) as writer:
            for rows in groups:
                ids = np.arange(first, first + rows)[:, None]
                writer.write_table(packing.to_table([packing.pack({"id": ids, "half": ids / 2})]), row_group_size=50)
                first += rows
        real = pq.ParquetFile(path).metadata
        sizes = tuple(real.row_group(g).num_rows for g in range(real.num_row_groups))
        files.append(DataFile(path.name, number, 0, sizes, path.stat().st_size))
    return Manifest(str(folder), SCHEMA, tuple(files))


def ids_of(batches: Iterator[Batch]) -> list[list[int]]:
    steps = []
    for batch in batches:
        assert (batch.targets[0] == batch.inputs[0] / 2).all()
        steps.append(batch.inputs[0][:, 0].tolist())
    return steps


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layout=layouts,
    batch_size=st.integers(1, 300),
    ranks=st.integers(1, 16),
    shuffle=st.booleans(),
    window=st.integers(1, 300),
    seed=st.integers(-(2**63), 2**63 - 1),
    epoch=st.integers(0, 3),
    reader=st.sampled_from(["petastorm", "arrow"]),
    data=st.data(),
)
def test_each_row_is_in_one_batch_of_an_epoch(
    tmp_path: Path,
    layout: list[list[int]],
    batch_size: int,
    ranks: int,
    shuffle: bool,
    window: int,
    seed: int,
    epoch: int,
    reader: str,
    data: st.DataObject,
) -> None:
    manifest = write(tmp_path / str(next(numbers)), layout)
    total = sum(map(sum, layout))
    plan = Plan.of(
        manifest, batch_size=batch_size, canonical_shards=max(8, ranks), seed=seed, shuffle=shuffle, window=window
    )
    again = data.draw(st.integers(0, plan.steps), label="resumed at step")
    loaders = [Loader(manifest, plan, rank, ranks, reader=reader) for rank in range(ranks)]
    whole = [ids_of(loader.epoch(epoch)) for loader in loaders]
    resumed = [ids_of(loader.epoch(epoch, again)) for loader in loaders]
    for loader in loaders:
        loader.close()

    assert {len(steps) for steps in whole} == {-(-total // batch_size)}
    steps = [sorted(itertools.chain(*parts)) for parts in zip(*whole, strict=True)]
    assert sorted(itertools.chain(*steps)) == list(range(total))
    assert [len(rows) for rows in steps] == [plan.step_rows(step) for step in range(plan.steps)]
    assert resumed == [parts[again:] for parts in whole]


def batches_of(plan: Plan, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
    """The row numbers of each step, from the plan alone."""
    sizes = [rows for groups in plan.row_groups for rows in groups]
    places = [(f, g) for f, groups in enumerate(plan.row_groups) for g in range(len(groups))]
    first = dict(zip(places, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    shards = []
    for shard in range(plan.canonical_shards):
        parts = []
        for window in plan.windows(epoch, shard):
            rows = [np.arange(r.start, r.stop) + first[r.file, r.row_group] for r in window.ranges]
            parts.append(np.concatenate(rows)[plan.row_order(epoch, shard, window)])
        shards.append(np.concatenate(parts))
    for step in range(plan.steps):
        yield np.concatenate([rows[plan.given(step, s) : plan.given(step + 1, s)] for s, rows in enumerate(shards)])


@pytest.mark.parametrize("group_rows", [1000, 16_384, 400_000])
def test_sorted_rows_are_mixed_nearly_as_well_as_by_a_perfect_shuffle(group_rows: int) -> None:
    rows = 1_600_000
    groups = (*((group_rows,) * (rows // group_rows)), *((rows % group_rows,) if rows % group_rows else ()))
    plan = Plan((groups,), batch_size=1024)
    spreads, seen = [], 0
    for batch in batches_of(plan, epoch=1):
        seen += len(batch)
        spreads.append(batch.std())
    assert seen == rows
    perfect = rows / np.sqrt(12)
    # A batch that is spread more than a perfect one does not make up for another that is spread less.
    assert np.minimum(np.array(spreads) / perfect, 1).mean() >= 0.9
